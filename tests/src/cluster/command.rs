//! Running a program to its end and turning a failure into an error that can be read.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::error::{Error, FileContext as _, Result, Tail};

/// How long a poll rests between two looks at its condition.
pub(super) const POLL: Duration = Duration::from_millis(100);

/// Runs `command` and returns what it wrote to stdout.
pub(super) fn output(step: &str, command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(step, command, format!("could not be run: {error}"), ""))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(failed(step, command, format!("ended with {}", output.status), &stderr)),
    }
}

/// Runs `command` with `input` on its stdin.
pub(super) fn output_with_input(step: &str, command: &mut Command, input: &[u8]) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        command.spawn().map_err(|error| failed(step, command, format!("could not be run: {error}"), ""))?;
    let stdin = child.stdin.take();
    let output = thread::scope(|scope| {
        scope.spawn(move || {
            // A program that ends early says why itself.
            stdin.map(|mut stdin| stdin.write_all(input).ok())
        });
        child.wait_with_output()
    })
    .map_err(|error| failed(step, command, format!("could not be run: {error}"), ""))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(failed(
            step,
            command,
            format!("ended with {}", output.status),
            &String::from_utf8_lossy(&output.stderr),
        )),
    }
}

/// Runs `command` with its stderr in a file at `log`, and returns what it wrote to stdout.
pub(super) fn logged(step: &str, command: &mut Command, log: &Path) -> Result<String> {
    if let Some(parent) = log.parent() {
        std::fs::create_dir_all(parent).at("create folder", parent)?;
    }
    let file = File::create(log).at("create log", log)?;
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(file)
        .spawn()
        .and_then(Child::wait_with_output)
        .map_err(|error| failed(step, command, format!("could not be run: {error}"), ""))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(Error::Command {
            step: step.to_owned(),
            command: shown(command),
            outcome: format!("ended with {}", output.status),
            tail: Tail::of(log),
        }),
    }
}

/// Looks at `condition` until it says `Some`, for `limit` at most.
pub(super) fn poll<T>(
    limit: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
    timeout: impl FnOnce() -> Error,
) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if started.elapsed() >= limit {
            return Err(timeout());
        }
        thread::sleep(POLL);
    }
}

/// The program `name` in PATH, or in the folders of programs for root that PATH may lack.
pub(super) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

fn failed(step: &str, command: &Command, outcome: String, stderr: &str) -> Error {
    Error::Command { step: step.to_owned(), command: shown(command), outcome, tail: Tail::of_text(stderr) }
}

/// The command line, cut where it stops being helpful.
fn shown(command: &Command) -> String {
    let mut text = Path::new(command.get_program())
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    if text.chars().count() > 160 {
        text = text.chars().take(160).chain(['…']).collect();
    }
    text
}
