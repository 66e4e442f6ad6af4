//! How the cluster is, as a table.

use super::{
    Cluster,
    build::table,
    command::output,
    install::{DEPLOYMENT, NAMESPACE},
    proc,
    processes::{NAMESPACES, Process, cap_logs},
    up,
};

/// How the cluster is.
#[derive(Clone, Debug)]
pub struct Status {
    /// What, id, state.
    pub rows: Vec<[String; 3]>,
    /// What is wrong; empty when all is well.
    pub problems: Vec<String>,
}

/// Looks at every process, the node, DNS and the operator.
pub fn status(cluster: &Cluster) -> Status {
    let mut rows = Vec::new();
    let mut row = |what: &str, id: String, state: String| rows.push([what.to_owned(), id, state]);
    let word = |good: bool| if good { "ready" } else { "NOT READY" }.to_owned();
    if cluster.is_own() {
        cap_logs();
        let all = proc::scan();
        let names = std::iter::once(NAMESPACES).chain(Process::ALL.iter().map(|process| process.name()));
        for name in names {
            match proc::find_in(&all, name) {
                Some(running) => row(name, running.pid.to_string(), "running".to_owned()),
                None => row(name, "-".to_owned(), "NOT RUNNING".to_owned()),
            }
        }
        row("cluster DNS", "-".to_owned(), word(up::dns_answers()));
    }
    let problems = up::unhealthy(cluster);
    let api = up::api_ready(cluster);
    row("API server", "-".to_owned(), word(api));
    row("node", "-".to_owned(), word(api && up::node_ready(cluster)));
    row("operator", "-".to_owned(), if api { operator(cluster) } else { "unknown".to_owned() });
    Status { rows, problems }
}

// === impl Status ===

impl Status {
    /// The table that `cargo cluster status` prints.
    pub fn table(&self) -> String {
        table(&["WHAT", "PROCESS", "STATE"], self.rows.iter().map(|row| row.to_vec()))
    }
}

/// The operator's Deployment: how much of it is ready, and its images.
fn operator(cluster: &Cluster) -> String {
    let path = "jsonpath={.status.readyReplicas}/{.spec.replicas} ready, \
                {.spec.template.spec.containers[*].image} \
                {.spec.template.spec.containers[*].env[?(@.name=='THANOS_OPERATOR_AGENT_IMAGE')].value}";
    let mut kubectl = cluster.kubectl();
    kubectl.args(["--namespace", NAMESPACE, "get", "deployment", DEPLOYMENT, "--output", path]);
    match output("asking for the operator", &mut kubectl) {
        Ok(text) if text.starts_with('/') => format!("NOT READY: 0{}", text.trim()),
        Ok(text) => text.trim().to_owned(),
        Err(_) => "not installed".to_owned(),
    }
}
