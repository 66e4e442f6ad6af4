//! The demo: stores come and go before the eyes of a person, and no querier restarts.

mod measure;
mod script;
mod timeline;

pub use self::{
    script::{NAMESPACE, play},
    timeline::Timeline,
};

use crate::cluster::{components, paths};

/// What a build of everything took, on two cores without any cache.
const COLD: &str = "15 to 20 minutes on 2 cores";

/// What is not in the cache yet, and how long it will take; nothing when all is there.
pub fn cold_warning() -> Option<String> {
    let entries = std::fs::read_dir(paths::cache()).into_iter().flatten().flatten();
    let there: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let missing: Vec<String> = components::ALL
        .iter()
        .filter(|component| !there.iter().any(|name| name.starts_with(&format!("{}-", component.name))))
        .map(|component| format!("  {:<50} {}", component.title, component.cold))
        .collect();
    (!missing.is_empty()).then(|| {
        format!(
            "First run on this machine: a real Kubernetes is built from source, once.\n\
             All of it took {COLD}; later runs start at once.\n{}\n",
            missing.join("\n")
        )
    })
}
