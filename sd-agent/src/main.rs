//! The program: arguments, signals, exit codes. Everything else is in the lib.

use std::{io::Write, process::ExitCode, sync::Arc};

use sd_agent::{
    agent::{Parts, run},
    args::{Args, Command, Output, RunArgs},
    check, log,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};

fn main() -> ExitCode {
    match Args::of(std::env::args_os()).unwrap_or_else(|error| error.exit()).command {
        Command::Check(args) => {
            let result = check::check(&args);
            let text = check::describe(&args, &result);
            // The answer goes to standard output also when it is bad news; only what prevents one does not.
            let _ = match (&result, args.output) {
                (Err(_), Output::Text) => std::io::stderr().write_all(text.as_bytes()),
                _ => std::io::stdout().write_all(text.as_bytes()),
            };
            ExitCode::from(match result {
                Ok(answer) => u8::from(!answer.valid),
                Err(_) => 2,
            })
        }
        Command::Run(args) => start(args),
    }
}

/// One thread is enough, and costs the least memory.
fn start(args: RunArgs) -> ExitCode {
    log::init(args.log_level);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(serve(args))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: RunArgs) -> anyhow::Result<()> {
    // As PID 1 there is no default action: without handlers a stop takes until the kill.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let reread = Arc::new(Notify::new());
    let parts = Parts { reread: Arc::clone(&reread), ..Parts::default() };
    let shutdown = async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => reread.notify_one(),
            }
        }
    };
    run(args, parts, shutdown).await;
    Ok(())
}
