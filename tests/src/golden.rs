//! Whole outputs, compared as text: a folder a case, with its input and what is expected to come of it.

mod input;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

pub use self::input::{Input, modes};

/// Asks `made` what comes of each case in `folder`, a folder of this package, and compares it with the case's file
/// `expected`. With `UPDATE_GOLDEN` in the environment the files are written anew; the diff is then the review. `test`
/// is the name of the test program, for the hint.
///
/// # Errors
/// When something differs, with all of it; when there are no cases, or a file cannot be written.
pub fn check(folder: &str, expected: &str, test: &str, made: impl Fn(&Path) -> String) -> Result<()> {
    let is_update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut different = Vec::new();
    for case in cases(folder)? {
        let (made, expected) = (made(&case), case.join(expected));
        if is_update {
            fs::write(&expected, &made).with_context(|| format!("failed to write {}", expected.display()))?;
        } else if fs::read_to_string(&expected).unwrap_or_default() != made {
            different.push(format!("{}:\n{made}", expected.display()));
        }
    }
    if !different.is_empty() {
        bail!(
            "these differ; if that is meant, run UPDATE_GOLDEN=1 cargo test -p tests --test {test}\n{}",
            different.join("\n")
        );
    }
    Ok(())
}

/// The folders of the cases in `folder`, a folder of this package, sorted.
///
/// # Errors
/// When there are none.
pub fn cases(folder: &str) -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).with_context(|| format!("failed to read {}", folder.display()))?;
    let mut cases: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    cases.sort();
    if cases.is_empty() {
        bail!("no cases in {}", folder.display());
    }
    Ok(cases)
}
