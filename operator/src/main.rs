//! `thanos-operator`: command line, logging, signals.

use std::{
    io::{ErrorKind, IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::Parser;
use jiff::Timestamp;
use kube::Client;
use operator::{
    arguments::{Arguments, Command, ExplainArguments, LogFormat, RunArguments},
    clock::Clock,
    config::Config,
    explain,
    runtime::Operator,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(told) => {
            // Nothing can be done about a terminal that is gone.
            let _ = told.print();
            // Not the 2 of clap, which `explain` has for something else.
            return if told.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let result = match arguments.command {
        Command::Crd => print_crds().map(|()| ExitCode::SUCCESS),
        Command::Run(arguments) => run(arguments).map(|()| ExitCode::SUCCESS),
        Command::Explain(arguments) => explain(&arguments),
    };
    result.unwrap_or_else(|error| {
        // It may quote what others wrote.
        eprintln!("thanos-operator: {}", explain::escaped(&format!("{error:#}")));
        ExitCode::FAILURE
    })
}

fn explain(arguments: &ExplainArguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let told = runtime.block_on(async {
        let client = explain::client(arguments.context.as_deref()).await?;
        anyhow::Ok(explain::explain(&client, arguments, Timestamp::now()).await?)
    })?;
    match std::io::stdout().lock().write_all(told.text.as_bytes()) {
        // Whoever reads has enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written.context("failed to write")?,
    }
    Ok(if told.needs_a_look { ExitCode::from(explain::NEEDS_A_LOOK) } else { ExitCode::SUCCESS })
}

fn print_crds() -> anyhow::Result<()> {
    print!("{}", crds::to_yaml().context("failed to write the CRD as YAML")?);
    Ok(())
}

fn run(arguments: RunArguments) -> anyhow::Result<()> {
    // The client logs every failed request itself, and the watcher every list that is forbidden, beside the step that
    // failed and says what comes of it.
    let quiet = "kube_client::client::builder=off,kube_runtime::watcher=error";
    let filter = EnvFilter::try_new(format!("{quiet},{}", arguments.log_level))
        .with_context(|| format!("--log-level {:?} cannot be read", arguments.log_level))?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match arguments.log_format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: RunArguments) -> anyhow::Result<()> {
    let mut config = kube::Config::infer()
        .await
        .context("found no way to reach a Kubernetes API: run in a pod or set KUBECONFIG")?;
    // Back-off is ours: the client's own would hold one write for minutes.
    config.default_retry = false;
    // A list or watch that is never answered would leave us blind for ever. Longer than the 290 s after which the
    // server ends a quiet watch.
    config.read_timeout = Some(Duration::from_secs(305));
    config.reset_reader_on_write = true;
    let client = Client::try_from(config).context("failed to make a Kubernetes client")?;
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("failed to listen on {}: choose another --listen", arguments.listen))?;
    let operator = Operator {
        client,
        clock: Clock::start(),
        scopes: arguments.discovery.scopes(),
        config: Config {
            agent_image: arguments.agent_image,
            cluster_domain: arguments.discovery.domain(None),
            default_rollouts: arguments.default_rollouts,
            needs_consent: !arguments.discovery.discovery_without_consent,
        },
        instance: std::env::var("HOSTNAME").unwrap_or_else(|_| "thanos-operator".to_owned()),
        listener,
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        scopes = ?operator.scopes,
        config = ?operator.config,
        listen = %arguments.listen,
        "thanos-operator starts"
    );
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    operator.run(shutdown).await
}
