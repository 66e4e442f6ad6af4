//! The command line: read once, turned into values.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{config::DefaultRollouts, watch::Scope};

/// Keeps the StoreAPI endpoints of Thanos queriers right without restarting them.
#[derive(Debug, Parser)]
#[command(name = "thanos-operator", version, about)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch ThanosQuery objects and Services, and keep the queriers' endpoints right.
    Run(RunArguments),
    /// Say of every Service whether it is an endpoint of a ThanosQuery and why, and what each pod has of it.
    #[command(long_about = EXPLAIN, after_help = EXPLAIN_EXIT_CODES)]
    Explain(ExplainArguments),
    /// Print the CustomResourceDefinition as YAML, to be applied with `kubectl apply -f -`.
    Crd,
}

/// Settings of `run`.
#[derive(Debug, Parser)]
pub struct RunArguments {
    /// Which Services count.
    #[command(flatten)]
    pub discovery: DiscoveryArguments,

    /// Image of the agent that runs beside each querier.
    #[arg(long, default_value = concat!("sd-agent:", env!("CARGO_PKG_VERSION")), env = "THANOS_OPERATOR_AGENT_IMAGE")]
    pub agent_image: String,

    /// When pods get new defaults of the operator, such as a newer agent, that nobody asked for: by themselves, one
    /// ThanosQuery at a time, or each when the annotation that its condition DefaultsOutdated names is set.
    #[arg(long, value_enum, default_value_t = DefaultRollouts::Paced, env = "THANOS_OPERATOR_DEFAULT_ROLLOUTS")]
    pub default_rollouts: DefaultRollouts,

    /// Address for /livez, /readyz and /metrics.
    #[arg(long, default_value = "0.0.0.0:8080", env = "THANOS_OPERATOR_LISTEN")]
    pub listen: SocketAddr,

    /// Least severe messages to log: error, warn, info, debug or trace; or a filter such as info,kube=debug.
    #[arg(long, default_value = "info", env = "THANOS_OPERATOR_LOG_LEVEL")]
    pub log_level: String,

    /// How messages are written.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "THANOS_OPERATOR_LOG_FORMAT")]
    pub log_format: LogFormat,
}

/// What decides which Services count, for the operator and for whoever explains what it does.
#[derive(Clone, Debug, Default, Args)]
pub struct DiscoveryArguments {
    /// Namespaces to work in, separated by commas. Without this: all of them, which needs a ClusterRole.
    #[arg(long, value_delimiter = ',', env = "THANOS_OPERATOR_WATCH_NAMESPACES")]
    pub watch_namespaces: Vec<String>,

    /// DNS domain of the cluster. Without this: as the search list in /etc/resolv.conf says, else cluster.local.
    /// `explain` first looks at the endpoints that are in use.
    #[arg(long, env = "THANOS_OPERATOR_CLUSTER_DOMAIN")]
    pub cluster_domain: Option<String>,

    /// Let a ThanosQuery use Services of every namespace that its namespaceSelector chooses, also of those that do not
    /// allow it by the annotation operator.thanos.io/allow-discovery-from.
    #[arg(long, env = "THANOS_OPERATOR_DISCOVERY_WITHOUT_CONSENT")]
    pub discovery_without_consent: bool,
}

/// Settings of `explain`.
#[derive(Clone, Debug, Parser)]
pub struct ExplainArguments {
    /// Name of the ThanosQuery.
    pub query: String,

    /// Its namespace. Without this: that of the kubeconfig's context, or of this pod, else default.
    #[arg(short, long)]
    pub namespace: Option<String>,

    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,

    /// Context of the kubeconfig. Without this: the current one, or the cluster of this pod.
    #[arg(long)]
    pub context: Option<String>,

    /// Which Services count: as the operator was started, or the answer is about another one.
    #[command(flatten)]
    pub discovery: DiscoveryArguments,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// One JSON object.
    Json,
}

const EXPLAIN: &str = "\
Say of every Service whether it is an endpoint of a ThanosQuery and why, and what each pod has of it.

It judges by the same rules as the operator, with what the cluster has now; the operator need not run. Give --watch-namespaces, \
--cluster-domain and --discovery-without-consent (or their variables) as the operator has them.

It only reads, with your rights. What you may not read is told, and the rest is explained. What agents and Thanos say comes \
from the pods, which needs the right to get pods/proxy; without it, from the status of the ThanosQuery.";

const EXPLAIN_EXIT_CODES: &str = "\
Exit codes:
  0  all is well
  1  there is no answer: no such ThanosQuery, no API, a wrong argument
  2  something needs a look: a Service is left out that looks as if it should count, a pod lacks endpoints, Thanos does \
not reach a store, a condition warns, or a part could not be read";

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

// === impl DiscoveryArguments ===

impl DiscoveryArguments {
    /// What is watched.
    pub fn scopes(&self) -> Vec<Scope> {
        let mut namespaces: Vec<&String> =
            self.watch_namespaces.iter().filter(|name| !name.is_empty()).collect();
        namespaces.sort();
        namespaces.dedup();
        if namespaces.is_empty() {
            return vec![Scope::All];
        }
        namespaces.into_iter().cloned().map(Scope::Namespace).collect()
    }

    /// The DNS domain of the cluster; `in_use` when it is not given.
    pub fn domain(&self, in_use: Option<String>) -> String {
        let resolved = || cluster_domain(&std::fs::read_to_string("/etc/resolv.conf").ok()?);
        self.cluster_domain.clone().or(in_use).or_else(resolved).unwrap_or_else(|| "cluster.local".to_owned())
    }
}

/// The cluster's DNS domain as the search list of a pod has it: `<namespace>.svc.<domain>`, `svc.<domain>`, …
pub fn cluster_domain(resolv_conf: &str) -> Option<String> {
    let search =
        resolv_conf.lines().filter_map(|line| line.strip_prefix("search ")).flat_map(str::split_whitespace);
    let domain = search.filter_map(|name| name.strip_prefix("svc.")).next()?;
    Some(domain.trim_end_matches('.').to_owned()).filter(|domain| !domain.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_domain_is_read_from_the_search_list() {
        let conf = "nameserver 10.96.0.10\nsearch demo.svc.corp.example svc.corp.example corp.example\n";
        assert_eq!(cluster_domain(conf).as_deref(), Some("corp.example"));
        assert_eq!(cluster_domain("nameserver 1.1.1.1\n"), None);
    }

    #[test]
    fn namespaces_are_split_and_named_once() {
        let run = |arguments: &[&str]| {
            let all = ["thanos-operator", "run"].iter().chain(arguments);
            let Command::Run(run) = Arguments::try_parse_from(all).expect("arguments").command else {
                panic!("not run")
            };
            run.discovery.scopes()
        };
        assert_eq!(run(&[]), [Scope::All]);
        assert_eq!(
            run(&["--watch-namespaces=b,a,b"]),
            [Scope::Namespace("a".into()), Scope::Namespace("b".into())]
        );
    }

    #[test]
    fn explain_takes_what_decides_about_services_as_the_operator_does() {
        let all =
            ["thanos-operator", "explain", "global", "-n", "demo", "-o", "json", "--watch-namespaces=a"];
        let Command::Explain(explain) = Arguments::try_parse_from(all).expect("arguments").command else {
            panic!("not explain")
        };
        assert_eq!(
            (explain.namespace.as_deref(), explain.query.as_str(), explain.output),
            (Some("demo"), "global", Output::Json)
        );
        assert_eq!(explain.discovery.scopes(), [Scope::Namespace("a".into())]);
        assert_eq!(explain.discovery.domain(Some("corp.example".into())), "corp.example");
    }
}
