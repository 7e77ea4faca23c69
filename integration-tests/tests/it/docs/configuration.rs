//! `docs/configuration.md` holds every key, at its default, in a file that the programs take.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use roadstead_integration_tests::{process, programs};
use roadstead_runtime::{
    ConfigSources, ConfigTree, RpcConfig, RuntimeConfig, SECTIONS, TelemetryConfig, Validate,
};
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{keys, read};

/// A section by the type that reads it.
struct Section {
    keys: BTreeSet<String>,
    /// What it is in a file, and what it is without one.
    compare: fn(&ConfigTree, &str) -> Result<(String, String)>,
}

impl Section {
    fn of<T: DeserializeOwned + Default + Validate + Debug>() -> Self {
        Self {
            keys: keys::of::<T>(),
            compare: |tree, name| {
                let read: T = tree.section(name)?;
                Ok((format!("{read:#?}"), format!("{:#?}", T::default())))
            },
        }
    }
}

fn sections() -> BTreeMap<&'static str, Section> {
    let sections = BTreeMap::from([
        ("runtime", Section::of::<RuntimeConfig>()),
        ("telemetry", Section::of::<TelemetryConfig>()),
        ("rpc", Section::of::<RpcConfig>()),
        ("gateway", Section::of::<roadstead_gateway::Config>()),
        ("auth", Section::of::<roadstead_auth::Config>()),
        ("metadata", Section::of::<roadstead_metadata::Config>()),
        ("blobs", Section::of::<roadstead_blobs::Config>()),
        ("events", Section::of::<roadstead_events::Config>()),
    ]);
    let named: BTreeSet<_> = sections.keys().copied().collect();
    assert_eq!(
        named,
        SECTIONS.into_iter().collect(),
        "this test knows every section"
    );
    sections
}

/// The one file in the document, as it stands.
fn documented() -> Result<String> {
    let document = read("docs/configuration.md")?;
    let mut blocks = document.split("```toml\n").skip(1);
    let block = blocks.next().context("there is no TOML block")?;
    ensure!(blocks.next().is_none(), "there is more than one TOML block");
    let (file, _) = block.split_once("```").context("the block does not end")?;
    Ok(file.to_owned())
}

/// The file with every optional key: `#` without a space before one is taken away.
fn complete(file: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(optional) if !optional.starts_with(' ') => optional.to_owned(),
        _ => line.to_owned(),
    };
    file.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// All keys of a file, with dots between their parts. What `known` calls a key is not looked into.
fn keys_in(file: &str, known: &BTreeSet<String>) -> Result<BTreeSet<String>> {
    fn add(path: &str, value: &Value, known: &BTreeSet<String>, keys: &mut BTreeSet<String>) {
        match value {
            Value::Table(table) if !known.contains(path) => {
                for (name, value) in table {
                    add(&format!("{path}.{name}"), value, known, keys);
                }
            }
            Value::Array(items) if items.iter().any(Value::is_table) => {
                for item in items {
                    add(path, item, known, keys);
                }
            }
            _ => {
                keys.insert(path.to_owned());
            }
        }
    }
    let mut keys = BTreeSet::new();
    for (name, value) in &toml::from_str::<Table>(file)? {
        add(name, value, known, &mut keys);
    }
    Ok(keys)
}

fn known_keys() -> BTreeSet<String> {
    let of_section = |(name, section): (&str, Section)| {
        let full = |key| format!("{name}.{key}");
        section.keys.into_iter().map(full).collect::<Vec<_>>()
    };
    sections().into_iter().flat_map(of_section).collect()
}

fn written(directory: &Path, file: &str) -> Result<PathBuf> {
    let path = directory.join("roadstead.toml");
    std::fs::write(&path, file)?;
    Ok(path)
}

fn tree(path: PathBuf) -> Result<ConfigTree> {
    Ok(ConfigTree::load(ConfigSources {
        file: Some(path),
        ..ConfigSources::default()
    })?)
}

#[tokio::test]
async fn the_file_is_good_as_it_stands_and_with_every_optional_key() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = documented()?;
    for file in [complete(&file), file] {
        let path = written(directory.path(), &file)?;
        let arguments = ["config", "check", "--config"].map(Into::into);
        let arguments = arguments.into_iter().chain([path.clone().into_os_string()]);
        let roadstead = programs::ours("roadstead")?;
        process::run(&roadstead, arguments, &[], None, Duration::from_secs(30)).await?;

        // `roadstead` has no use for [rpc]. The services want its files to be there.
        let mut tree = tree(path.clone())?;
        for key in ["rpc.tls.ca_file", "rpc.tls.cert_file", "rpc.tls.key_file"] {
            tree = tree.with(key, path.display().to_string());
        }
        tree.section::<RpcConfig>("rpc")?;
    }
    Ok(())
}

#[test]
fn every_key_is_in_the_file() -> Result<()> {
    let known = known_keys();
    let file = documented()?;
    let documented = keys_in(&complete(&file), &known)?;
    let missing: Vec<_> = known.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&known).collect();
    assert!(missing.is_empty(), "not documented: {missing:?}");
    assert!(unknown.is_empty(), "documented, but not known: {unknown:?}");
    Ok(())
}

#[test]
fn every_value_is_the_default() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let tree = tree(written(directory.path(), &documented()?)?)?;
    for (name, section) in sections() {
        let (documented, default) = (section.compare)(&tree, name)?;
        assert_eq!(documented, default, "[{name}]");
    }
    Ok(())
}

#[test]
fn only_what_has_no_default_is_commented_out() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = documented()?;
    let known = known_keys();
    let set = keys_in(&file, &known)?;
    let tree = tree(written(directory.path(), &file)?)?;
    for (name, section) in sections() {
        let (_, default) = (section.compare)(&tree, name)?;
        for key in section.keys.iter().filter(|key| !key.contains('.')) {
            let none = default.contains(&format!("\n    {key}: None,"));
            let shown = set.contains(&format!("{name}.{key}"));
            assert!(
                shown != none,
                "{name}.{key} has {} default",
                if none { "no" } else { "a" }
            );
        }
    }
    Ok(())
}

#[test]
fn every_key_is_explained() -> Result<()> {
    let file = complete(&documented()?);
    for line in file.lines().filter(|line| line.contains(" = ")) {
        let (_, explanation) = line
            .rsplit_once(" # ")
            .with_context(|| format!("no comment: {line}"))?;
        assert!(!explanation.trim().is_empty(), "no comment: {line}");
    }
    Ok(())
}
