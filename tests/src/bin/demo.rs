//! `cargo demo`: see it work.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use tests::{
    cases::{Kind, run::turn},
    cluster::{self, CONTEXT_ENV, Cluster, Images, Progress},
    demo::{self, NAMESPACE, Played, Timeline},
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
    /// Use an existing cluster: a context of your kubeconfig. It must be able to pull the images.
    #[arg(long, env = CONTEXT_ENV)]
    context: Option<String>,
    /// An image that the cluster can pull, instead of the one built here.
    #[arg(long, requires = "agent_image")]
    operator_image: Option<String>,
    /// An image that the cluster can pull, instead of the one built here.
    #[arg(long, requires = "operator_image")]
    agent_image: Option<String>,
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
    let cluster = match &args.context {
        Some(context) => Cluster::existing(context),
        None => {
            if let Some(warning) = demo::cold_warning() {
                progress.line(warning);
            }
            cluster::up(&progress)?
        }
    };
    // Cases of `cargo e2e` need the installed operator to rest.
    let turn = turn(Kind::Exclusive, &progress)?;
    let given = args.operator_image.clone().zip(args.agent_image.clone());
    let given = given.map(|(operator, agent)| Images { operator, agent });
    let images = cluster::install(&cluster, given, &progress)?;

    let runtime = Runtime::new().context("failed to start the runtime")?;
    runtime.block_on(async {
        let client = cluster.client().await?;
        let environment = Environment { cluster, client, images, program: None };
        let played = demo::play(&environment, &Timeline::stdout()).await?;
        drop(turn);
        if args.once {
            delete_namespace(&environment.client, NAMESPACE).await?;
            println!("  namespace {NAMESPACE} is removed again");
            return Ok(());
        }
        invite(&played);
        tokio::signal::ctrl_c().await.context("failed to wait for Ctrl-C")?;
        farewell(&played);
        Ok(())
    })
}

/// Where to look and what to try.
fn invite(played: &Played) {
    let kubectl = kubectl(played);
    println!("\n  The Query UI of each pod, until Ctrl-C:");
    match played.addresses.as_slice() {
        [] => println!(
            "    {kubectl} port-forward service/thanos-query-global 9090\n    then http://localhost:9090/stores"
        ),
        addresses => addresses.iter().for_each(|address| println!("    {address}/stores")),
    }
    println!(
        "  To try it yourself:\n    {kubectl} get thanosquery\n    {kubectl} describe thanosquery global\n    \
         {kubectl} delete service paris"
    );
}

fn farewell(played: &Played) {
    println!("\n  Namespace {NAMESPACE} and the operator stay. To remove the demo:");
    println!(
        "    {} delete namespace {NAMESPACE}",
        kubectl(played).trim_end_matches(&format!(" -n {NAMESPACE}"))
    );
    if played.world.cluster().is_own() {
        println!("  To remove the whole cluster:\n    cargo cluster down");
    }
}

fn kubectl(played: &Played) -> String {
    let cluster = played.world.cluster();
    let program = cluster.bin("kubectl");
    match (cluster.kubeconfig(), cluster.context()) {
        (Some(path), _) => format!("{} --kubeconfig {} -n {NAMESPACE}", program.display(), path.display()),
        (None, context) => {
            format!("{} --context {} -n {NAMESPACE}", program.display(), context.unwrap_or_default())
        }
    }
}
