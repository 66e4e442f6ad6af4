//! `cargo bench-cluster`: the numbers of the README, measured on a real cluster.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::Parser;
use tests::{
    bench::{self, Options, Outcome, markdown},
    cases::{Kind, run::turn},
    cluster::{self, ClusterArguments, Progress},
};
use tokio::runtime::Runtime;

/// Measures how quickly every querier follows a changed Service, and what that costs.
///
/// Brings up the test cluster and installs the operator of this source, unless told otherwise.
/// Then it makes a namespace with tiny stores and four ThanosQuery objects of two pods each
/// (Thanos v0.42.4, the same with refreshInterval 1s, v0.37.2, v0.35.1), and adds and removes
/// Services: first ClusterIP ones, then headless ones, at least 1.2 s apart. The clock starts when
/// the API server has answered. It ends at the agents' `appliedAt`, and when /api/v1/stores of
/// every pod shows the change. After that nothing may be written for two minutes, and the operator
/// has to remember many more Services. At last a thousand agents without pods follow one document
/// that changes. In an existing cluster (--context) memory and those agents are left out, and
/// requests to pods go through the API server.
///
/// Prints a Markdown table; progress goes to stderr. With 200 changes it takes about 20 minutes.
/// Nothing else should run on the machine meanwhile. A goal that is missed is no failure: the exit
/// code only tells whether it could be measured.
///
///   cargo bench-cluster                            all of it
///   cargo bench-cluster --changes 10 --rest 20     a quick look, 3 minutes
#[derive(Parser)]
#[command(name = "cargo bench-cluster", verbatim_doc_comment)]
struct Args {
    /// Services that are added and removed, of each form.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=9999))]
    changes: u32,
    /// Print JSON instead of the table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Seconds between two changes; the operator writes a ConfigMap once a second.
    #[arg(long, default_value_t = 1.2, value_parser = seconds, value_name = "SECONDS")]
    step: f64,
    /// Leave the namespaces as they are at the end.
    #[arg(long)]
    keep: bool,
    /// Measure the operator that is installed already, whatever it was built from.
    #[arg(long)]
    skip_install: bool,
    /// The namespace to make. The operator must work in it and in NAME-crowd.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Where the operator runs.
    #[arg(long, default_value = cluster::NAMESPACE, value_name = "NAME")]
    operator_namespace: String,
    /// Seconds in which nothing may be written.
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    rest: u64,
    /// Services for the operator to remember besides.
    #[arg(long, default_value_t = 2000, value_name = "NUMBER")]
    services: u32,
    /// Agents without pods that follow one document; they take 2 MiB each, and 0 leaves them out.
    #[arg(long, default_value_t = 1000, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    agents: u32,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<()> {
    let progress = Progress::stderr();
    let cluster = args.cluster.cluster(&progress)?;
    // Cases of `cargo e2e` need the installed operator to rest.
    let turn = turn(Kind::Exclusive, &progress)?;
    if !args.skip_install {
        cluster::install(&cluster, args.cluster.images(), &progress)?;
    }
    // Of an existing cluster they would measure the network up to here.
    let alone = args.agents > 0 && cluster.is_own();
    let agent_program = if alone { Some(cluster::build_product(&progress)?.agent) } else { None };
    let options = Options {
        changes: args.changes,
        step: Duration::from_secs_f64(args.step),
        rest: Duration::from_secs(args.rest),
        services: args.services,
        agents: args.agents,
        agent_program,
        keep: args.keep,
        namespace: args.namespace.unwrap_or_else(|| format!("bench-{}", std::process::id())),
        operator_namespace: args.operator_namespace,
    };
    let minutes = options.duration().as_secs().div_ceil(60);
    progress.line(format_args!("{} changes each: this takes about {minutes} min", args.changes));
    let runtime = Runtime::new().context("failed to start the runtime")?;
    let outcome = runtime.block_on(bench::run(&cluster, &options, &progress))?;
    drop(turn);
    print(&outcome, args.json, &progress)
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (1.2..=60.0).contains(&seconds) { Ok(seconds) } else { Err("from 1.2 to 60".to_owned()) }
}

fn print(outcome: &Outcome, json: bool, progress: &Progress) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(outcome)?);
    } else {
        println!("{}\n{}", markdown(&outcome.rows), outcome.conditions.join(" "));
    }
    progress.line(format_args!("\nWhere the time until the file goes:\n{}", markdown(&outcome.shares)));
    for doubt in &outcome.doubts {
        progress.line(format_args!("doubt: {doubt}"));
    }
    Ok(())
}
