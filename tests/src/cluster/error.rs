//! What can go wrong with the test cluster. Every text names the step and, where there is one, the remedy.

use std::{fmt, io, path::PathBuf, time::Duration};

/// The result of a step of the test cluster.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a step of the test cluster failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The step changes the machine (namespaces, packages, interfaces).
    #[error("{0} needs root: run it as root, or name an existing cluster with --context")]
    NeedsRoot(&'static str),
    /// Programs of the distribution are missing and cannot be installed from here.
    #[error(
        "missing programs {programs}: run `apt-get install {packages}` as root, or install them your own way"
    )]
    MissingPrograms {
        /// The programs, separated by spaces.
        programs: String,
        /// The Debian packages that hold them.
        packages: String,
    },
    /// Go is missing or too old.
    #[error(
        "Go {needed} or newer is needed to build the test cluster, {found}: install it and put `go` first in PATH"
    )]
    Go {
        /// The lowest version that builds every component.
        needed: String,
        /// What was found instead.
        found: String,
    },
    /// A program could not be started or ended with an error.
    #[error("{step} failed: `{command}` {outcome}{tail}")]
    Command {
        /// What was being done.
        step: String,
        /// The command line, shortened.
        command: String,
        /// How it ended.
        outcome: String,
        /// The end of what it wrote.
        tail: Tail,
    },
    /// A process of the node is not running although it should.
    #[error("{process} is not running{tail}")]
    ProcessDied {
        /// The process.
        process: &'static str,
        /// The end of its log.
        tail: Tail,
    },
    /// A condition did not come true in time.
    #[error("{what} did not happen within {} s{tail}", .limit.as_secs())]
    Timeout {
        /// The condition.
        what: String,
        /// How long it was waited for.
        limit: Duration,
        /// The log that most likely says why.
        tail: Tail,
    },
    /// A file operation failed.
    #[error("{step} {}: {source}", .path.display())]
    File {
        /// What was being done.
        step: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate could not be made.
    #[error("failed to make the certificates of the test cluster")]
    Certificate(#[from] rcgen::Error),
    /// There is no running cluster.
    #[error("no test cluster is running: start one with `cargo cluster up`")]
    NotRunning,
    /// The step is only possible on our own cluster.
    #[error("{0} is only possible on the cluster of `cargo cluster up`, not with --context")]
    OnlyOwn(&'static str),
    /// An existing cluster needs images that it can pull.
    #[error(
        "an existing cluster cannot see images built here: push them and pass --operator-image and --agent-image"
    )]
    ImagesNotGiven,
    /// A manifest does not hold the text that `install` replaces.
    #[error("{manifest} does not contain the image `{image}`, so the built one cannot be put in its place")]
    ImageNotInManifest {
        /// The file.
        manifest: PathBuf,
        /// The text that was looked for.
        image: &'static str,
    },
    /// Something of the cluster survived `down`.
    #[error("still there after `down`:\n  {}", .0.join("\n  "))]
    LeftOver(Vec<String>),
    /// The Kubernetes client could not be made.
    #[error("failed to make a Kubernetes client")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// The Kubernetes client could not be made.
    #[error("failed to make a Kubernetes client")]
    Client(#[source] Box<kube::Error>),
    /// The answer of a program could not be understood.
    #[error("{step}: {problem}")]
    Answer {
        /// What was being done.
        step: String,
        /// What is wrong with the answer.
        problem: String,
    },
}

/// The end of a log and where the rest is, printed below an error.
#[derive(Debug, Default)]
pub struct Tail {
    /// The last lines.
    pub lines: Vec<String>,
    /// The whole log.
    pub log: Option<PathBuf>,
}

// === impl Tail ===

impl Tail {
    /// How many lines an error shows.
    const LINES: usize = 15;

    /// The last lines of the log at `path`; a log that cannot be read is named all the same.
    pub fn of(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let text = std::fs::read(&path).unwrap_or_default();
        Self { log: Some(path), ..Self::of_text(&String::from_utf8_lossy(&text)) }
    }

    /// The last lines of `text`.
    pub fn of_text(text: &str) -> Self {
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let first = lines.len().saturating_sub(Self::LINES);
        Self { lines: lines.into_iter().skip(first).map(str::to_owned).collect(), log: None }
    }
}

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            write!(f, "\n  | {line}")?;
        }
        match &self.log {
            Some(log) => write!(f, "\n  log: {}", log.display()),
            None => Ok(()),
        }
    }
}

/// Adds the step and the path to an error of the file system.
pub(super) trait FileContext<T> {
    /// Says what was being done with which file.
    fn at(self, step: &'static str, path: impl Into<PathBuf>) -> Result<T>;
}

impl<T> FileContext<T> for io::Result<T> {
    fn at(self, step: &'static str, path: impl Into<PathBuf>) -> Result<T> {
        self.map_err(|source| Error::File { step, path: path.into(), source })
    }
}
