//! `cargo e2e`: all tests, then the cases on a real cluster.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use clap::Parser;
use libtest_mimic::Arguments;
use tests::{
    cases::{
        self, Kind,
        run::{AT_ONCE, Runner},
    },
    cluster::{self, ClusterArguments, Progress},
    fixtures::Environment,
};
use tokio::runtime::Runtime;

/// Runs `cargo test`, brings up the test cluster, installs the operator and runs the cluster cases.
///
/// Cases that share the cluster run three at once, each with a namespace and an operator process of its own,
/// which has the rights of manifests/install-namespaced.yaml and no others. Those that stop processes or need the
/// installed operator run alone, at the end. A failed case prints its objects, Events and logs.
///
///   cargo e2e                                all of it
///   cargo e2e --list                         the names of the cases
///   cargo e2e --no-cargo-test "first store"  only the cases with these words in their name
#[derive(Parser)]
#[command(name = "cargo e2e", verbatim_doc_comment)]
struct Args {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Skip `cargo test --workspace`.
    #[arg(long)]
    no_cargo_test: bool,
    /// Keep the namespaces of failed cases until the next run.
    #[arg(long)]
    keep: bool,
    /// Run the slow cases too.
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    mimic: Arguments,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: Args) -> Result<ExitCode> {
    let mut cases: Vec<_> = cases::all().into_iter().filter(|case| args.full || !case.full).collect();
    // libtest-mimic keeps this order.
    cases.sort_by_key(|case| case.kind == Kind::Exclusive);
    args.mimic.test_threads = args.mimic.test_threads.or(Some(AT_ONCE));
    if args.mimic.list {
        let names = cases.into_iter().map(|case| libtest_mimic::Trial::test(case.name, || Ok(())));
        return Ok(libtest_mimic::run(&args.mimic, names.collect()).exit_code());
    }

    let tests_passed = args.no_cargo_test || cargo_test()?;
    let runtime = Runtime::new().context("failed to start the runtime")?;
    let environment = prepare(&args, &runtime)?;
    runtime.block_on(environment.sweep())?;
    let runner = Runner::new(environment, runtime.handle().clone(), args.keep);
    let trials = cases.into_iter().map(|case| runner.trial(case)).collect();
    let conclusion = libtest_mimic::run(&args.mimic, trials);
    runner.restore()?;
    println!("{}", runner.minutes());
    if !tests_passed {
        println!("`cargo test` failed, see above");
        return Ok(ExitCode::FAILURE);
    }
    Ok(conclusion.exit_code())
}

fn cargo_test() -> Result<bool> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(cluster::paths::repository())
        .args(["test", "--workspace", "--no-fail-fast"])
        .status()
        .context("failed to run cargo test")?;
    Ok(status.success())
}

fn prepare(args: &Args, runtime: &Runtime) -> Result<Environment> {
    let progress = Progress::stderr();
    let cluster = args.cluster.cluster(&progress)?;
    let images = cluster::install(&cluster, args.cluster.images(), &progress)?;
    let program = Some(cluster::build_product(&progress)?.operator);
    let client = runtime.block_on(cluster.client())?;
    Ok(Environment { cluster, client, images, program })
}
