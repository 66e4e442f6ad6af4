//! Builds every component once into the user's cache. An interrupted build leaves nothing half done.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{
    command::{find_program, logged, output},
    components::{ALL, Component},
    error::{Error, FileContext as _, Result},
    lock::Lock,
    packages, paths,
    progress::Progress,
};

/// The newest `go` line of the modules.
const GO: (u32, u32, u32) = (1, 26, 6);

/// The built components.
#[derive(Clone, Debug)]
pub struct Binaries {
    components: BTreeMap<&'static str, Built>,
}

/// One built component.
#[derive(Clone, Debug)]
pub struct Built {
    /// What names this build: see [`Component::key`].
    pub key: String,
    /// The folder of its binaries.
    pub folder: PathBuf,
    /// How long the build took; `None` when it was there already.
    pub took: Option<Duration>,
}

/// Builds what is missing in the cache, and installs the packages that the node needs.
pub fn build(progress: &Progress) -> Result<Binaries> {
    packages::ensure(progress)?;
    let cache = paths::cache();
    let _lock = Lock::acquire(&cache.join("build.lock"), progress)?;
    remove_unfinished(&cache)?;
    let go = go_version()?;
    let mut components = BTreeMap::new();
    for (index, component) in ALL.iter().enumerate() {
        let key = component.key(&go)?;
        let folder = component.output(&key);
        let took = if folder.is_dir() {
            None
        } else {
            let step = progress.step_with(
                format!("[{}/{}] {}", index + 1, ALL.len(), component.title),
                &format!("{} without a cache", component.cold),
            );
            compile(component, &folder)?;
            Some(step.done())
        };
        components.insert(component.name, Built { key, folder, took });
    }
    Ok(Binaries { components })
}

// === impl Binaries ===

impl Binaries {
    /// Nothing built: with an existing cluster programs come from PATH.
    pub(super) fn none() -> Self {
        Self { components: BTreeMap::new() }
    }

    /// The folder of a component's binaries.
    pub fn folder(&self, component: &Component) -> PathBuf {
        self.built(component).map_or_else(PathBuf::new, |built| built.folder.clone())
    }

    /// What names a component's build.
    pub fn key(&self, component: &Component) -> &str {
        self.built(component).map_or("", |built| &built.key)
    }

    /// The path of a binary by its name; of Thanos the newest one.
    pub fn path(&self, name: &str) -> PathBuf {
        ALL.iter()
            .map(|component| self.folder(component).join(name))
            .find(|path| path.is_file())
            .unwrap_or_else(|| PathBuf::from(name))
    }

    /// One line a component, with lined-up columns.
    pub fn table(&self) -> String {
        let rows = ALL.iter().filter_map(|component| {
            let built = self.built(component)?;
            let took =
                built.took.map_or_else(|| "cached".to_owned(), |took| format!("{:.1} s", took.as_secs_f32()));
            Some(vec![component.title.to_owned(), took, built.folder.display().to_string()])
        });
        table(&["COMPONENT", "BUILD", "FOLDER"], rows)
    }

    fn built(&self, component: &Component) -> Option<&Built> {
        self.components.get(component.name)
    }
}

/// Rows as text with columns that line up.
pub(super) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut all = vec![head.iter().map(|&cell| cell.to_owned()).collect::<Vec<_>>()];
    all.extend(rows);
    let width = |column: usize| {
        all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn compile(component: &Component, folder: &Path) -> Result<()> {
    let unfinished = folder.with_file_name(format!("unfinished-{}-{}", component.name, std::process::id()));
    std::fs::create_dir_all(&unfinished).at("create folder", &unfinished)?;
    let log = paths::cache().join("log").join(component.name);
    for build in component.builds {
        // A folder needs the slash at its end, else `go` makes one file of that name.
        let target = unfinished.join(build.output.unwrap_or_default());
        let mut go = go_command(&component.folder());
        go.args(["build", "-p", "2", "-trimpath", "-tags", component.tags])
            .arg("-ldflags")
            .arg(component.linker_flags())
            .arg("-o")
            .arg(target)
            .args(build.packages);
        logged(&format!("building {}", component.title), &mut go, &log)?;
    }
    std::fs::rename(&unfinished, folder).at("rename to", folder)
}

fn go_command(folder: &Path) -> Command {
    let mut go = Command::new("go");
    go.current_dir(folder).env("CGO_ENABLED", "0").env("GOFLAGS", "-buildvcs=false").env("GOWORK", "off");
    go
}

/// The version of Go, refused when too old to build every component.
fn go_version() -> Result<String> {
    let needed = || format!("{}.{}.{}", GO.0, GO.1, GO.2);
    if find_program("go").is_none() {
        return Err(Error::Go { needed: needed(), found: "but there is no `go` in PATH".to_owned() });
    }
    // In a module's folder, so that a `go` that may fetch a newer one of itself does so.
    let mut command = go_command(&paths::modules().join("node"));
    let text = match output("asking for the version of Go", command.args(["env", "GOVERSION"])) {
        Ok(text) => text,
        Err(Error::Command { tail, outcome, .. }) => {
            let said = tail.lines.into_iter().next().unwrap_or(outcome);
            return Err(Error::Go { needed: needed(), found: format!("but `go` says: {said}") });
        }
        Err(error) => return Err(error),
    };
    let version = text.trim().trim_start_matches("go");
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    if (next(), next(), next()) < GO {
        return Err(Error::Go { needed: needed(), found: format!("but here is {version}") });
    }
    Ok(version.to_owned())
}

/// What builds that were killed left behind. The lock says that none is running.
fn remove_unfinished(cache: &Path) -> Result<()> {
    for entry in std::fs::read_dir(cache).at("read folder", cache)? {
        let entry = entry.at("read folder", cache)?;
        if entry.file_name().to_string_lossy().starts_with("unfinished-") {
            std::fs::remove_dir_all(entry.path()).at("remove", entry.path())?;
        }
    }
    Ok(())
}
