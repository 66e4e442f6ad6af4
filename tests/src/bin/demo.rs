//! `cargo demo`: see it work.

use std::{fs::File, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Parser;
use tests::{
    cases::{Kind, run::turn},
    cluster::{self, Cluster, ClusterArguments, Progress},
    demo::{self, NAMESPACE, Timeline},
    fixtures::{Environment, world::delete_namespace},
};
use tokio::runtime::Runtime;

/// Starts a real Kubernetes, installs the operator, and adds, removes and changes stores before your eyes.
///
/// A timeline tells when each change was in the ConfigMap, in the file of each querier pod and queried by each
/// pod, and how many pods were replaced. Afterwards the Query UI stays open until Ctrl-C.
#[derive(Parser)]
#[command(name = "cargo demo")]
struct Args {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Remove the demo's namespace and end, instead of waiting for Ctrl-C.
    #[arg(long)]
    once: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let progress = Progress::stderr();
    if args.cluster.context.is_none()
        && let Some(warning) = demo::cold_warning()
    {
        progress.line(warning);
    }
    let cluster = args.cluster.cluster(&progress)?;
    // Cases of `cargo e2e` need the installed operator to rest.
    let turn = turn(Kind::Exclusive, &progress)?;
    let images = cluster::install(&cluster, args.cluster.images(), &progress)?;

    let runtime = Runtime::new().context("failed to start the runtime")?;
    runtime.block_on(async {
        let client = cluster.client().await?;
        let environment = Environment { cluster, client, images, program: None };
        tokio::select! {
            played = show(&environment, args.once, turn) => played?,
            pressed = tokio::signal::ctrl_c() => {
                pressed.context("failed to wait for Ctrl-C")?;
                farewell(&environment.cluster);
            }
        }
        Ok(())
    })
}

/// Plays the demo and, unless `once`, leaves it open for good.
async fn show(environment: &Environment, once: bool, turn: File) -> Result<()> {
    let addresses = demo::play(environment, &Timeline::stdout()).await?;
    drop(turn);
    if !once {
        invite(&environment.cluster, &addresses);
        std::future::pending::<()>().await;
    }
    delete_namespace(&environment.client, NAMESPACE).await?;
    println!("\nNamespace {NAMESPACE} is removed again.");
    Ok(())
}

/// Where to look and what to try.
fn invite(cluster: &Cluster, addresses: &[String]) {
    let kubectl = kubectl(cluster);
    println!("\nThe Query UI, until Ctrl-C:");
    if addresses.is_empty() {
        println!("  {kubectl} -n {NAMESPACE} port-forward service/thanos-query-global 9090");
        println!("  then http://localhost:9090/stores");
    }
    for address in addresses {
        println!("  {address}/stores");
    }
    println!("\nTo try it yourself, in another terminal:");
    println!("  alias k='{kubectl} -n {NAMESPACE}'");
    for command in ["get thanosquery", "describe thanosquery global", "delete service paris"] {
        println!("  k {command}");
    }
}

fn farewell(cluster: &Cluster) {
    println!("\nNamespace {NAMESPACE} and the operator stay. To remove the demo:");
    println!("  {} delete namespace {NAMESPACE}", kubectl(cluster));
    if cluster.is_own() {
        println!("To remove the whole cluster:\n  cargo cluster down");
    }
}

fn kubectl(cluster: &Cluster) -> String {
    let program = cluster.bin("kubectl");
    match (cluster.kubeconfig(), cluster.context()) {
        (Some(path), _) => format!("{} --kubeconfig {}", program.display(), path.display()),
        (None, context) => format!("{} --context {}", program.display(), context.unwrap_or_default()),
    }
}
