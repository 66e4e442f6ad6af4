//! `cargo cluster`: the test cluster on the command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tests::cluster::{self, CONTEXT_ENV, Cluster, Error, Images, Progress};

/// A real one-node Kubernetes for tests, built from pinned sources and run without Docker.
#[derive(Parser)]
#[command(name = "cargo cluster", disable_help_subcommand = true)]
struct Args {
    /// Use an existing cluster: a context of your kubeconfig.
    #[arg(long, global = true, env = CONTEXT_ENV)]
    context: Option<String>,
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build every component into the cache; what is there already is skipped.
    Build,
    /// Start the cluster, or use the healthy one that runs. The last line names its kubeconfig.
    Up,
    /// Build the operator and the agent, load all images, apply the manifests, wait for the operator.
    Install {
        /// An image that the cluster can pull, instead of the one built here.
        #[arg(long, requires = "agent_image")]
        operator_image: Option<String>,
        /// An image that the cluster can pull, instead of the one built here.
        #[arg(long, requires = "operator_image")]
        agent_image: Option<String>,
    },
    /// Show every process, the node, DNS and the operator. Exit code 0 only when all is well.
    Status,
    /// Stop the cluster and remove every trace of it, also after a crash.
    Down,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                // Some texts hold their cause already.
                if !error.to_string().contains(&cause.to_string()) {
                    eprintln!("  because: {cause}");
                }
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<ExitCode, Error> {
    let progress = Progress::stderr();
    let existing = args.context.map(Cluster::existing);
    match (args.command, existing) {
        (Task::Build, Some(_)) => progress.line("nothing to build: --context names an existing cluster"),
        (Task::Build, None) => println!("{}", cluster::build(&progress)?.table()),
        (Task::Up, Some(existing)) => return Ok(report(&existing)),
        (Task::Up, None) => {
            let kubeconfig = cluster::up(&progress)?.kubeconfig().unwrap_or_default();
            println!("KUBECONFIG={}", kubeconfig.display());
        }
        (Task::Install { operator_image, agent_image }, existing) => {
            let given = operator_image.zip(agent_image).map(|(operator, agent)| Images { operator, agent });
            let cluster = existing.map_or_else(|| Cluster::connect(&progress), Ok)?;
            let images = cluster::install(&cluster, given, &progress)?;
            println!("installed {} with {}", images.operator, images.agent);
        }
        (Task::Status, Some(existing)) => return Ok(report(&existing)),
        (Task::Status, None) => return Ok(report(&Cluster::connect(&progress)?)),
        (Task::Down, Some(_)) => progress.line("nothing to take down: --context names an existing cluster"),
        (Task::Down, None) => cluster::down(&progress)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn report(cluster: &Cluster) -> ExitCode {
    let status = cluster::status(cluster);
    println!("{}", status.table());
    for problem in &status.problems {
        eprintln!("problem: {problem}");
    }
    match cluster.kubeconfig() {
        Some(path) => println!("KUBECONFIG={}", path.display()),
        None => println!("context {}", cluster.context().unwrap_or_default()),
    }
    if status.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
