//! What the distribution has to bring. Debian's packages are installed when root; else one line says which.

use std::process::Command;

use super::{
    command::{find_program, logged},
    error::{Error, Result},
    paths,
    progress::Progress,
};

/// A program that is called, and the Debian package that holds it.
const PROGRAMS: &[(&str, &str)] = &[
    // Debian's own: a runc built with Go alone has no seccomp, and every sandbox then fails.
    ("runc", "runc"),
    // kube-proxy calls it.
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("mount", "mount"),
    ("losetup", "mount"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setsid", "util-linux"),
    ("mkfs.ext4", "e2fsprogs"),
];

/// Makes sure that every program is there.
pub(super) fn ensure(progress: &Progress) -> Result<()> {
    let (programs, packages) = missing();
    if packages.is_empty() {
        return Ok(());
    }
    let by_hand = || Error::MissingPrograms { programs: programs.join(" "), packages: packages.join(" ") };
    if !is_root() || find_program("apt-get").is_none() {
        return Err(by_hand());
    }
    let step = progress.step(format!("installing {}", packages.join(" ")));
    let log = paths::cache().join("log/apt-get");
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    logged("updating the package lists", apt().args(["-q", "update"]), &log)?;
    logged(
        "installing packages",
        apt().args(["-q", "install", "--yes", "--no-install-recommends"]).args(&packages),
        &log,
    )?;
    if !missing().0.is_empty() {
        return Err(by_hand());
    }
    step.done();
    Ok(())
}

/// Whether this process may do everything.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn missing() -> (Vec<&'static str>, Vec<&'static str>) {
    let missing = PROGRAMS.iter().filter(|(program, _)| find_program(program).is_none());
    let (programs, mut packages): (Vec<_>, Vec<_>) = missing.copied().unzip();
    packages.dedup();
    (programs, packages)
}
