//! What a person sees while the cluster works: one line when a step starts, one when it ends, on stderr.

use std::{
    fmt,
    io::{IsTerminal as _, Write as _, stderr},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

/// Where progress goes.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Terminal,
    Plain,
    Silent,
}

/// A step under way. Dropped without [`Step::done`], it counts as failed.
#[derive(Debug)]
pub struct Step {
    progress: Progress,
    text: String,
    started: Instant,
    ticker: Option<Ticker>,
    finished: bool,
}

/// Rewrites the line of a step every second, until told to stop.
#[derive(Debug)]
struct Ticker {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: thread::JoinHandle<()>,
}

// === impl Progress ===

impl Progress {
    /// On stderr; seconds count up when that is a terminal.
    pub fn stderr() -> Self {
        Self { kind: if stderr().is_terminal() { Kind::Terminal } else { Kind::Plain } }
    }

    /// Nowhere.
    pub fn silent() -> Self {
        Self { kind: Kind::Silent }
    }

    /// Prints one line.
    pub fn line(&self, text: impl fmt::Display) {
        if self.kind != Kind::Silent {
            eprintln!("{text}");
        }
    }

    /// Begins a step.
    pub fn step(&self, text: impl Into<String>) -> Step {
        self.step_with(text, "")
    }

    /// Begins a step with a hint that is gone once it ended.
    pub fn step_with(&self, text: impl Into<String>, hint: &str) -> Step {
        let text = text.into();
        let started = Instant::now();
        let shown = if hint.is_empty() { text.clone() } else { format!("{text} ({hint})") };
        let ticker = match self.kind {
            Kind::Terminal => Some(Ticker::start(shown, started)),
            Kind::Plain => {
                eprintln!("{shown} …");
                None
            }
            Kind::Silent => None,
        };
        Step { progress: *self, text, started, ticker, finished: false }
    }
}

// === impl Step ===

impl Step {
    /// Ends the step well; returns how long it took.
    pub fn done(mut self) -> Duration {
        self.finish("");
        self.started.elapsed()
    }

    /// Ends the step well and says what came of it.
    pub fn done_with(mut self, outcome: impl fmt::Display) -> Duration {
        self.finish(&format!(" ({outcome})"));
        self.started.elapsed()
    }

    fn finish(&mut self, outcome: &str) {
        self.finished = true;
        if let Some(ticker) = self.ticker.take() {
            ticker.stop();
        }
        let seconds = self.started.elapsed().as_secs_f32();
        match self.progress.kind {
            Kind::Terminal => eprintln!("\r\x1b[K{} {seconds:.1} s{outcome}", self.text),
            Kind::Plain => eprintln!("{} {seconds:.1} s{outcome}", self.text),
            Kind::Silent => {}
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.finished {
            self.finish(" FAILED");
        }
    }
}

// === impl Ticker ===

impl Ticker {
    fn start(text: String, started: Instant) -> Self {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (stopped, changed) = &*told;
            let Ok(mut guard) = stopped.lock() else { return };
            while !*guard {
                eprint!("\r\x1b[K{text} … {} s", started.elapsed().as_secs());
                stderr().flush().ok();
                match changed.wait_timeout(guard, Duration::from_secs(1)) {
                    Ok((next, _)) => guard = next,
                    Err(_) => return,
                }
            }
        });
        Self { stop, thread }
    }

    fn stop(self) {
        if let Ok(mut stopped) = self.stop.0.lock() {
            *stopped = true;
        }
        self.stop.1.notify_all();
        self.thread.join().ok();
    }
}
