//! Where the programs under test are.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The directory that holds the programs: `$ROADSTEAD_BIN_DIR`, else the one this test was built into.
pub fn directory() -> Result<PathBuf> {
    if let Some(directory) = std::env::var_os("ROADSTEAD_BIN_DIR") {
        return Ok(directory.into());
    }
    // <target>/<profile>/deps/<test>: the programs lie one up, built with the same profile.
    let test = std::env::current_exe().context("where this test lies")?;
    let profile = test
        .ancestors()
        .skip(1)
        .find(|directory| directory.join("deps").is_dir())
        .context("this test was not started from a target directory; set ROADSTEAD_BIN_DIR")?;
    Ok(profile.to_owned())
}

/// The path of one of our programs, for example `roadstead`.
pub fn ours(name: &str) -> Result<PathBuf> {
    let path = directory()?.join(name);
    ensure!(
        path.is_file(),
        "{} is missing: build the programs first (cargo build --workspace --bins, same profile as the tests)",
        path.display()
    );
    Ok(path)
}

/// The path of another project's program on `PATH` or among the tools that `integration-tests/run` installs.
pub fn theirs(name: &str) -> Result<PathBuf> {
    // Debian keeps servers in sbin, which a user's PATH may lack; Debian's docker goes before one that lies in /usr/local.
    let first = if name == "docker" { "/usr/bin" } else { "" };
    let path = std::env::var("PATH").unwrap_or_default();
    std::iter::once(first)
        .chain(path.split(':'))
        .chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"])
        .filter(|directory| !directory.is_empty())
        .map(|directory| Path::new(directory).join(name))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("{name} is not installed; integration-tests/run installs it"))
}
