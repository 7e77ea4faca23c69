//! The table of who may use what (`ARCHITECTURE.md`, "Layout"), read off the resolved workspace.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use roadstead_integration_tests::programs;

/// A row: a crate of ours, the crates of ours that it may use, and what it must not use at all. A name that ends with `*`
/// stands for everything that begins so. Development dependencies are free.
struct Row {
    name: &'static str,
    ours: &'static [&'static str],
    never: &'static [&'static str],
}

const COMMON: &[&str] = &[
    "roadstead-types",
    "roadstead-rpc",
    "roadstead-runtime",
    "roadstead-authn",
    "roadstead-proto",
];
/// Of services with a database.
const COMMON_AND_SQLITE: &[&str] = &[
    "roadstead-types",
    "roadstead-rpc",
    "roadstead-runtime",
    "roadstead-authn",
    "roadstead-proto",
    "roadstead-sqlite",
];
const SERVICES: [&str; 5] = [
    "roadstead-auth",
    "roadstead-metadata",
    "roadstead-blobs",
    "roadstead-events",
    "roadstead-gateway",
];

const TABLE: &[Row] = &[
    Row {
        name: "roadstead-types",
        ours: &[],
        never: &[
            "tokio*", "prost*", "axum*", "sqlx*", "rusqlite", "reqwest", "tonic*",
        ],
    },
    Row {
        name: "roadstead-proto",
        ours: &[],
        never: &["sqlx*", "rusqlite", "axum*", "aws-*"],
    },
    Row {
        name: "roadstead-rpc",
        ours: &["roadstead-proto", "roadstead-types"],
        never: &["sqlx*", "rusqlite", "axum*", "aws-sdk-*", "aws-config"],
    },
    Row {
        name: "roadstead-runtime",
        ours: &["roadstead-rpc", "roadstead-types"],
        never: &["sqlx*", "rusqlite", "aws-sdk-*"],
    },
    Row {
        name: "roadstead-sqlite",
        ours: &["roadstead-rpc", "roadstead-runtime", "roadstead-types"],
        never: &["sqlx*", "axum*", "aws-*", "prost*"],
    },
    Row {
        name: "roadstead-authn",
        ours: &["roadstead-types", "roadstead-rpc", "roadstead-proto"],
        never: &["sqlx*", "rusqlite", "axum*", "aws-sdk-*"],
    },
    Row {
        name: "roadstead-auth",
        ours: COMMON_AND_SQLITE,
        never: &["axum*", "aws-sdk-*"],
    },
    Row {
        name: "roadstead-metadata",
        ours: COMMON_AND_SQLITE,
        never: &["axum*", "aws-sdk-*", "openidconnect", "jsonwebtoken"],
    },
    Row {
        name: "roadstead-blobs",
        ours: COMMON,
        never: &["axum*", "sqlx*", "rusqlite", "openidconnect", "jsonwebtoken"],
    },
    Row {
        name: "roadstead-events",
        ours: COMMON_AND_SQLITE,
        never: &["axum*", "aws-sdk-*", "openidconnect", "jsonwebtoken"],
    },
    Row {
        name: "roadstead-gateway",
        ours: COMMON,
        never: &["sqlx*", "rusqlite", "aws-sdk-*", "openidconnect", "jsonwebtoken"],
    },
    Row {
        name: "roadstead",
        ours: &[
            "roadstead-types",
            "roadstead-proto",
            "roadstead-all-in-one",
            "roadstead-runtime",
        ],
        never: &["sqlx*", "rusqlite", "aws-sdk-*"],
    },
    // Sees the registry as everybody does, but for a million permissions that it writes beside it.
    Row {
        name: "roadstead-bench",
        ours: &[
            "roadstead-integration-tests",
            "roadstead-testkit",
            "roadstead-types",
        ],
        never: &["sqlx*", "axum*", "tonic*", "aws-sdk-*"],
    },
];

/// Crates that hold something that belongs in few places.
const EXCLUSIVE: &[(&str, &[&str])] = &[
    ("aws-sdk-s3", &["roadstead-blobs"]),
    (
        "rusqlite",
        // The crash suite looks into the files that a kill left; the benchmark writes very many permissions.
        &[
            "roadstead-sqlite",
            "roadstead-auth",
            "roadstead-metadata",
            "roadstead-events",
            "roadstead-faults",
            "roadstead-bench",
        ],
    ),
    (
        "sqlx",
        &["roadstead-auth", "roadstead-metadata", "roadstead-events"],
    ),
    ("openidconnect", &["roadstead-auth", "roadstead"]),
    (
        "jsonwebtoken",
        &[
            "roadstead-auth",
            "roadstead-authn",
            "roadstead-testkit",
            "roadstead",
        ],
    ),
];

fn workspace() -> Result<Metadata> {
    let manifest = programs::repository().join("Cargo.toml");
    MetadataCommand::new()
        .manifest_path(manifest)
        .other_options(["--locked".into()])
        .exec()
        .context("cargo metadata")
}

/// Everything that a crate is built with or from, its tests apart.
fn used(package: &Package) -> BTreeSet<&str> {
    let used = package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind != DependencyKind::Development);
    used.map(|dependency| dependency.name.as_str()).collect()
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern
        .strip_suffix('*')
        .map_or(pattern == name, |prefix| name.starts_with(prefix))
}

#[test]
fn every_crate_uses_what_its_row_allows() -> Result<()> {
    let metadata = workspace()?;
    let packages: BTreeMap<&str, &Package> = metadata
        .workspace_packages()
        .into_iter()
        .map(|package| (package.name.as_str(), package))
        .collect();
    let ours: BTreeSet<&str> = packages.keys().copied().collect();
    let mut problems = Vec::new();
    for row in TABLE {
        let used = used(
            packages
                .get(row.name)
                .with_context(|| format!("there is no crate {}", row.name))?,
        );
        for name in &used {
            if ours.contains(name) && !row.ours.contains(name) {
                problems.push(format!("{} uses {name}", row.name));
            }
            if row.never.iter().any(|pattern| matches(pattern, name)) {
                problems.push(format!("{} uses {name}, which it never may", row.name));
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
    Ok(())
}

#[test]
fn a_new_crate_gets_a_row() -> Result<()> {
    // Wiring and tests may use everything of ours.
    let free = [
        "roadstead-all-in-one",
        "roadstead-testkit",
        "roadstead-integration-tests",
        "roadstead-faults",
        "roadstead-fuzz",
    ];
    let known: BTreeSet<&str> = TABLE.iter().map(|row| row.name).chain(free).collect();
    let metadata = workspace()?;
    let found: BTreeSet<&str> = metadata
        .workspace_packages()
        .into_iter()
        .map(|package| package.name.as_str())
        .collect();
    assert_eq!(found, known);
    Ok(())
}

#[test]
fn only_the_wiring_uses_more_than_one_service() -> Result<()> {
    let metadata = workspace()?;
    for package in metadata.workspace_packages() {
        let services = used(package)
            .into_iter()
            .filter(|name| SERVICES.contains(name))
            .count();
        // The crash suite builds their programs under other names, and the fuzz targets call the parsers of each.
        let all = ["roadstead-all-in-one", "roadstead-faults", "roadstead-fuzz"];
        let expected = if all.contains(&package.name.as_str()) {
            SERVICES.len()
        } else {
            0
        };
        assert_eq!(services, expected, "{} uses {services} services", package.name);
    }
    Ok(())
}

#[test]
fn what_belongs_in_few_places_is_only_there() -> Result<()> {
    let metadata = workspace()?;
    for package in metadata.workspace_packages() {
        for name in used(package) {
            if let Some((_, allowed)) = EXCLUSIVE.iter().find(|(exclusive, _)| *exclusive == name) {
                assert!(
                    allowed.contains(&package.name.as_str()),
                    "{} uses {name}",
                    package.name
                );
            }
        }
    }
    Ok(())
}

/// `types` is used everywhere, so whatever it pulls in is everywhere.
#[test]
fn types_pulls_in_no_runtime() -> Result<()> {
    let metadata = workspace()?;
    let resolve = metadata.resolve.as_ref().context("a resolved graph")?;
    let types = metadata
        .workspace_packages()
        .into_iter()
        .find(|package| package.name.as_str() == "roadstead-types");
    let mut queue = vec![types.context("roadstead-types")?.id.clone()];
    let mut seen = BTreeSet::new();
    while let Some(id) = queue.pop() {
        let node = resolve
            .nodes
            .iter()
            .find(|node| node.id == id)
            .context("a node for every package")?;
        for dependency in &node.deps {
            let normal = dependency
                .dep_kinds
                .iter()
                .any(|kind| kind.kind == DependencyKind::Normal);
            if normal && seen.insert(dependency.pkg.clone()) {
                queue.push(dependency.pkg.clone());
            }
        }
    }
    let names: BTreeSet<&str> = seen.iter().map(|id| metadata[id].name.as_str()).collect();
    for forbidden in ["tokio", "prost", "axum", "sqlx-core", "rusqlite", "hyper"] {
        assert!(!names.contains(forbidden), "roadstead-types pulls in {forbidden}");
    }
    Ok(())
}
