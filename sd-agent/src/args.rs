//! The command line: what the operator renders and people type. Nothing is read here but arguments and environment.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
use http::Uri;

use crate::{Address, ThanosVersion};

/// Where Kubernetes puts the namespace of a pod whose service account is mounted.
pub const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Keeps the endpoint file of one Thanos Query pod right.
///
/// As a sidecar (`run`) it follows one ConfigMap, over the API and through a mounted copy, and turns it into
/// the file that the Thanos next to it reads. The file is replaced atomically, only by a document that is whole
/// and valid, and never with an older one; whatever goes wrong, the last good file stays.
#[derive(Debug, Parser)]
#[command(name = "sd-agent", version, after_help = EXIT_CODES)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes:
  0  run: asked to stop by a signal; check: Thanos takes the file
  1  check: Thanos would refuse the file, skip some of it or drop endpoints
  2  the command line is wrong; check: the file cannot be read";

const CHECK_EXIT_CODES: &str = "Exit codes:
  0  valid
  1  not valid
  2  the file cannot be read, or the command line is wrong

Examples:
  sd-agent check endpoints.yaml
  sd-agent check endpoints.yaml --thanos-version v0.37.2
  kubectl get configmap thanos-query-demo-endpoints -o yaml | sd-agent check -
  sd-agent check endpoints.yaml --output json | jq -r '.problems[].message'";

/// The two things that the program does.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant)] // there is one
pub enum Command {
    /// Follow the ConfigMap and keep the file right, until SIGTERM
    ///
    /// Never exits for an operational reason: a missing API server, ConfigMap, mount or a full disk is logged,
    /// told at /startz and /status, and retried. SIGHUP reads both sources again.
    Run(RunArgs),
    /// Read a file as strictly as Thanos does, and tell everything that is wrong with it
    ///
    /// The file may be any of these, and is recognised by what is in it:
    ///
    ///   - a file for Thanos' --endpoint.sd-config-file or --store.sd-files,
    ///     YAML or JSON,
    ///   - the operator's document, endpoints.json,
    ///   - a ConfigMap that holds one, as `kubectl get configmap NAME -o yaml`
    ///     or `-o json` prints it.
    ///
    /// A file is valid when Thanos takes it as it is and uses every endpoint in it.
    /// What Thanos skips in silence, like an unknown key, counts as wrong.
    ///
    /// Each problem is printed as FILE:LINE:COLUMN, with what to do about it below;
    /// for what stands within a ConfigMap, the place there follows. The first 20 are
    /// told, the rest are counted.
    #[command(verbatim_doc_comment, after_help = CHECK_EXIT_CODES)]
    Check(CheckArgs),
}

/// `sd-agent run`.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// ConfigMap to follow
    #[arg(long, env = "SD_AGENT_CONFIG_MAP", value_name = "NAME", value_parser = object_name)]
    pub config_map: String,

    /// Namespace of the ConfigMap [default: the pod's own, from the service account volume]
    #[arg(long, env = "SD_AGENT_NAMESPACE", value_name = "NAMESPACE", value_parser = object_name)]
    pub namespace: Option<String>,

    /// Folder where the same ConfigMap is mounted (a projected volume, whole, never a subPath)
    #[arg(long, env = "SD_AGENT_MOUNT", value_name = "DIR", default_value = "/sd-source")]
    pub mount: PathBuf,

    /// File that Thanos reads; its folder also holds the agent's dot files and must be writable
    #[arg(
        long,
        env = "SD_AGENT_OUTPUT",
        value_name = "FILE",
        default_value = "/sd/endpoints.yaml",
        value_parser = output_file
    )]
    pub output: PathBuf,

    /// Thanos release of this pod (v0.42.4), which decides the format; `unknown` is written as all read it
    #[arg(long, env = "SD_AGENT_THANOS_VERSION", value_name = "VERSION", default_value = "unknown")]
    pub thanos_version: ThanosVersion,

    /// An address that this pod's Thanos has as a flag, and that the file therefore leaves out; repeatable
    #[arg(long, env = "SD_AGENT_FLAGGED", value_name = "ADDRESS", value_delimiter = ',')]
    pub flagged: Vec<Address>,

    /// A folder that this pod's Thanos has for files of TLS; an entry with files elsewhere is written as the flags of
    /// Thanos have it, or left out if it has TLS settings of its own; repeatable
    #[arg(long, env = "SD_AGENT_TLS_FOLDER", value_name = "DIR", value_delimiter = ',')]
    pub tls_folder: Vec<String>,

    /// Where this pod's Thanos tells its metrics, to find out which DNS names fail; plain http, without it nobody looks
    #[arg(long, env = "SD_AGENT_THANOS_METRICS_URL", value_name = "URL", value_parser = plain_url)]
    pub thanos_metrics_url: Option<Uri>,

    /// Where this pod's Thanos lists its stores, to tell which of the file it serves; plain http, without it nobody asks
    #[arg(long, env = "SD_AGENT_THANOS_STORES_URL", value_name = "URL", value_parser = plain_url)]
    pub thanos_stores_url: Option<Uri>,

    /// Where documents come from
    #[arg(long, env = "SD_AGENT_SOURCE", value_enum, default_value_t = SourceChoice::Auto)]
    pub source: SourceChoice,

    /// Address for /startz, /livez, /status and /metrics
    #[arg(long, env = "SD_AGENT_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:10911")]
    pub listen: SocketAddr,

    /// How much to log, to standard error
    #[arg(long, env = "SD_AGENT_LOG_LEVEL", value_enum, default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,

    /// What was given beside these and is not known; see [`Args::of`]
    #[arg(skip)]
    pub ignored: Vec<String>,
}

/// `sd-agent check`.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// File to read; - is standard input
    pub file: PathBuf,

    /// Thanos release that shall read it [default: the newest]
    ///
    /// What this release does not read yet is a problem. `unknown` is a release that has only what all of them have.
    #[arg(long, env = "SD_AGENT_THANOS_VERSION", value_name = "VERSION")]
    pub thanos_version: Option<ThanosVersion>,

    /// How to print the answer
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Where documents come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SourceChoice {
    /// The API, with the mount for the start and for when the API cannot be used
    Auto,
    /// The API only
    Api,
    /// The mount only: no API access is needed, a change takes about a minute
    Mount,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What needs a person.
    Error,
    /// And what is being worked around.
    Warn,
    /// And one line per change.
    Info,
    /// And every repetition.
    Debug,
    /// And the HTTP client.
    Trace,
}

/// How `check` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// For scripts
    Json,
}

/// The argument names no Kubernetes object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no Kubernetes name: lower-case letters, digits, '-' and '.', at most 253")]
pub(crate) struct NotAName(String);

/// Thanos could not read a file of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} must name a file that ends in .yaml, .yml or .json: Thanos panics on any other")]
struct NotAFile(String);

/// The URL cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no URL like http://127.0.0.1:9090/metrics")]
struct NotAPlainUrl(String);

// === impl CheckArgs ===

impl CheckArgs {
    /// Whether the file is standard input.
    pub fn is_standard_input(&self) -> bool {
        self.file.as_os_str() == "-"
    }
}

// === impl Args ===

impl Args {
    /// Reads a command line, the program first.
    ///
    /// `run` does without arguments that it does not know, when they are written `--name=value`: an operator that is
    /// newer than the agent may render them, and a querier without its endpoints is worse than one without the newest
    /// of its settings. People type `check`, and there they are typing errors.
    ///
    /// # Errors
    /// When the command line is wrong.
    pub fn of(given: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Self, clap::Error> {
        let mut given: Vec<OsString> = given.into_iter().map(Into::into).collect();
        let mut ignored = Vec::new();
        if given.get(1).is_some_and(|command| command == "run") {
            let known = known_to_run();
            given.retain(|argument| {
                let argument = argument.to_string_lossy();
                let name = argument.strip_prefix("--").and_then(|rest| Some(rest.split_once('=')?.0));
                let is_known = name.is_none_or(|name| known.iter().any(|own| own == name));
                if !is_known {
                    ignored.push(argument.into_owned());
                }
                is_known
            });
        }
        let mut args = Self::try_parse_from(given)?;
        if let Command::Run(run) = &mut args.command {
            run.ignored = ignored;
        }
        Ok(args)
    }
}

fn known_to_run() -> Vec<String> {
    let command = Args::command();
    let run = command.find_subcommand("run");
    let all = run.into_iter().flat_map(clap::Command::get_arguments);
    all.filter_map(|argument| argument.get_long()).map(str::to_owned).collect()
}

pub(crate) fn object_name(text: &str) -> Result<String, NotAName> {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    if text.len() <= 253 && text.split('.').all(part) {
        Ok(text.to_owned())
    } else {
        Err(NotAName(text.to_owned()))
    }
}

fn output_file(text: &str) -> Result<PathBuf, NotAFile> {
    let path = PathBuf::from(text);
    let known = path
        .extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| ["yaml", "yml", "json"].contains(&extension));
    if known { Ok(path) } else { Err(NotAFile(text.to_owned())) }
}

fn plain_url(text: &str) -> Result<Uri, NotAPlainUrl> {
    let url = text.parse::<Uri>().ok().filter(|url| url.scheme_str() == Some("http"));
    url.filter(|url| url.host().is_some_and(|host| !host.is_empty()))
        .ok_or_else(|| NotAPlainUrl(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(more: &[&str]) -> Result<RunArgs, clap::Error> {
        let given = ["sd-agent", "run"].iter().chain(more);
        Args::of(given).map(|args| match args.command {
            Command::Run(args) => args,
            Command::Check(_) => unreachable!("run was given"),
        })
    }

    #[test]
    fn only_the_config_map_has_to_be_given() {
        let args = run(&["--config-map", "thanos-query-demo-endpoints"]).expect("enough");
        assert_eq!(args.output, PathBuf::from("/sd/endpoints.yaml"));
        assert_eq!(args.mount, PathBuf::from("/sd-source"));
        assert_eq!(args.listen.port(), 10911);
        assert_eq!((args.source, args.thanos_version), (SourceChoice::Auto, ThanosVersion::Unknown));
        assert!(run(&[]).is_err());
    }

    #[test]
    fn flagged_addresses_can_be_repeated() {
        let args =
            run(&["--config-map=a", "--flagged=a.ns.svc:1", "--flagged", "dns+b.ns.svc:2"]).expect("ok");
        assert_eq!(
            args.flagged.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["a.ns.svc:1", "dns+b.ns.svc:2"]
        );
    }

    #[test]
    fn what_could_not_work_is_a_usage_error() {
        for wrong in [
            vec!["--config-map=../x"],
            vec!["--config-map=A"],
            vec!["--config-map=a", "--namespace=a/b"],
            vec!["--config-map=a", "--output=/sd/endpoints.txt"],
            vec!["--config-map=a", "--thanos-version=latest"],
            vec!["--config-map=a", "--flagged=store"],
            vec!["--config-map=a", "--source=cloud"],
            vec!["--config-map=a", "--thanos-metrics-url=https://127.0.0.1:9090/metrics"],
            vec!["--config-map=a", "--thanos-metrics-url=/metrics"],
            vec!["--config-map=a", "--thanos-stores-url=https://127.0.0.1:9090/api/v1/stores"],
        ] {
            assert_eq!(run(&wrong).expect_err("refused").exit_code(), 2, "{wrong:?}");
        }
    }

    #[test]
    fn arguments_of_a_newer_operator_are_done_without() {
        let args = run(&["--config-map=a", "--later=x=y", "--source=api", "--later-too="]).expect("enough");
        assert_eq!((args.config_map.as_str(), args.source), ("a", SourceChoice::Api));
        assert_eq!(args.ignored, ["--later=x=y", "--later-too="]);
        assert!(run(&["--config-map=a"]).expect("enough").ignored.is_empty());
    }

    #[test]
    fn what_might_be_meant_for_another_argument_is_a_usage_error() {
        // The next word could be its value.
        for wrong in [vec!["--config-map=a", "--later", "x"], vec!["--config-map=a", "--later"], vec!["-l=x"]]
        {
            assert_eq!(run(&wrong).expect_err("refused").exit_code(), 2, "{wrong:?}");
        }
        let check = Args::of(["sd-agent", "check", "file.yaml", "--later=x"]);
        assert_eq!(check.expect_err("refused").exit_code(), 2);
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
