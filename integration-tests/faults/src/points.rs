//! The places where the programs can be told to die, read off the sources: a new one is killed at without being listed.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use roadstead_integration_tests::{Mode, programs};

use crate::installation::Program;

/// The services with a database. Points of `roadstead-sqlite` begin with the name of the service that uses it.
const WITH_DATABASE: [&str; 3] = ["auth", "events", "metadata"];

/// What the points of `roadstead-sqlite` that are not of single transactions are called, after the service's name.
pub const STORE: [&str; 4] = [
    "start::before_commit",
    "start::after_commit",
    "merge::before_checkpoint",
    "merge::after_checkpoint",
];

/// The fail points of all services, sorted.
pub fn all() -> Result<Vec<String>> {
    let services = programs::repository().join("services");
    let mut points = BTreeSet::new();
    let mut of_databases = BTreeSet::new();
    for source in sources(&services)? {
        let text = std::fs::read_to_string(&source).with_context(|| source.display().to_string())?;
        let found = literals_after(&text, "fail_point!(");
        if source.starts_with(services.join("common/sqlite")) {
            of_databases.extend(found);
        } else {
            points.extend(found);
        }
    }
    for point in &of_databases {
        points.extend(of_database(&services, point)?);
    }
    for expected in [
        "auth::start::before_commit",
        "events::before_commit::append",
        "metadata::before_commit::put_manifest",
        "metadata::merge::before_checkpoint",
        "blobs::publish::before_rename",
    ] {
        ensure!(
            points.contains(expected),
            "{expected} is not found in the sources"
        );
    }
    Ok(points.into_iter().collect())
}

/// The points that one of `roadstead-sqlite` is in the services. Every transaction of those that clients' pushes reach is a
/// point of its own.
fn of_database(services: &Path, point: &str) -> Result<Vec<String>> {
    let mut points = Vec::new();
    for service in WITH_DATABASE {
        let of_service = point.replacen("{}", service, 1);
        if of_service.ends_with("{}") {
            let transactions = transactions(services, service)?;
            points.extend(transactions.iter().map(|name| of_service.replace("{}", name)));
        } else if point.contains("::start::") || service == "metadata" {
            points.push(of_service);
        }
    }
    Ok(points)
}

/// The names of a service's transactions that are passed when clients push. Those of auth are the administration's.
fn transactions(services: &Path, service: &str) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    if service == "auth" {
        return Ok(names);
    }
    for source in sources(&services.join(service).join("src/store"))? {
        if source.ends_with("tests.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&source).with_context(|| source.display().to_string())?;
        names.extend(literals_after(&text, ".write("));
    }
    // Years pass before there is something to prune.
    names.remove("prune");
    Ok(names)
}

/// Those that are passed when clients push, move and delete, or at every start.
pub fn under_load() -> Result<Vec<String>> {
    let mut points = all()?;
    points.retain(|point| !is_of_first_start(point) && !is_of_large_log(point));
    Ok(points)
}

/// Whether the point is only passed when the write-ahead log has grown very large.
pub fn is_of_large_log(point: &str) -> bool {
    point.starts_with("metadata::merge::")
}

/// How many passes a process surely makes: of a point of its start, one.
pub fn passes(point: &str) -> u32 {
    if point.contains("::start::") { 1 } else { 3 }
}

/// The point at which a death makes the process pass this one later: bytes are confirmed when they were made durable
/// by a process that could not tell anybody.
pub fn preparation(point: &str) -> Option<&'static str> {
    point
        .starts_with("blobs::confirm::")
        .then_some("blobs::publish::after_directory_fsync")
}

/// Whether the point is passed at the first start on an empty directory, and at no other time.
pub fn is_of_first_start(point: &str) -> bool {
    point.starts_with("auth::start::")
        || point.starts_with("events::start::")
        || point.starts_with("metadata::start::")
        || point.contains("::secret::")
}

/// The program that passes the point. In split mode nobody but auth makes secrets when it starts.
pub fn program(mode: Mode, point: &str) -> Option<Program> {
    if mode == Mode::AllInOne {
        return Some(Program::AllInOne);
    }
    match point.split("::").next()? {
        "auth" => Some(Program::Auth),
        "blobs" => Some(Program::Blobs),
        "metadata" => Some(Program::Metadata),
        "events" => Some(Program::Events),
        "runtime" if point.contains("::start::") => Some(Program::Events),
        _ => None,
    }
}

fn sources(directory: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

/// The string literals that are the first argument of calls of `callee`, also where it is formatted.
fn literals_after<'a>(text: &'a str, callee: &str) -> impl Iterator<Item = String> + use<'a> {
    let calls: Vec<&str> = text.split(callee).skip(1).collect();
    calls.into_iter().filter_map(|call| {
        let argument = call.trim_start().trim_start_matches("&format!(").trim_start();
        let literal = argument.strip_prefix('"')?;
        Some(literal[..literal.find('"')?].to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_found_over_lines_and_in_formats() {
        let text = "fail_point!(\"a\"); fail_point!(\n  \"b\"\n); fail_point!(&format!(\"c::{}\", x)); fail_point!(name)";
        let found: Vec<_> = literals_after(text, "fail_point!(").collect();
        assert_eq!(found, ["a", "b", "c::{}"]);
    }

    #[test]
    fn every_service_with_a_disk_has_points() {
        let points = all().unwrap();
        for service in ["auth", "blobs", "events", "metadata", "runtime"] {
            assert!(
                points
                    .iter()
                    .any(|point| point.starts_with(&format!("{service}::"))),
                "{service}"
            );
        }
        assert!(!points.iter().any(|point| point.contains('{')), "{points:?}");
        assert!(points.is_sorted() && !points.iter().any(|point| point.ends_with("::")));
    }
}
