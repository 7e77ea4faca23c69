//! What is shipped has none of this in it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use regex::bytes::Regex;
use roadstead_faults::points;
use roadstead_integration_tests::programs;

const PROGRAMS: [&str; 6] = [
    "roadstead",
    "roadstead-auth",
    "roadstead-blobs",
    "roadstead-events",
    "roadstead-gateway",
    "roadstead-metadata",
];

#[test]
fn what_is_shipped_has_no_fail_points() -> Result<()> {
    let mut names = BTreeSet::from(["ROADSTEAD_KILL_AT", "FAILPOINTS"].map(ToOwned::to_owned));
    // Those of the embedded store are put together when they are passed, of the service's name and this.
    names.extend(points::all()?.into_iter().filter_map(|point| {
        let (_, of_store) = point.split_once("::")?;
        match of_store {
            of_transaction if of_transaction.contains("_commit::") => None,
            of_store if points::STORE.contains(&of_store) => Some(format!("::{of_store}")),
            _ => Some(point),
        }
    }));
    let escaped: Vec<_> = names.iter().map(|name| regex::escape(name)).collect();
    let any = Regex::new(&escaped.join("|"))?;
    let found = |program: &str| -> Result<BTreeSet<String>> {
        let bytes = std::fs::read(programs::ours(program)?).context("read a program")?;
        let found = any.find_iter(&bytes);
        Ok(found
            .map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned())
            .collect())
    };
    for program in PROGRAMS {
        let found = found(program)?;
        ensure!(found.is_empty(), "{program} has {found:?} in it");
    }
    // The same look finds them where they are.
    ensure!(
        found("faulty-roadstead")? == names,
        "not all are in the program that is to have them"
    );
    Ok(())
}
