//! `docs/errors.md` gives every reason the status and code that the gateway gives it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use roadstead_gateway::reason::rendering;
use roadstead_proto::common::v1::ErrorReason;

use super::read;

/// Status and code.
type Answer = (u16, String);

/// The rows of the tables of reasons: reason, status, code, meaning, what to do.
fn documented() -> Result<BTreeMap<String, Answer>> {
    let mut rows = BTreeMap::new();
    for line in read("docs/errors.md")?.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [reason, status, code, meaning, remedy] = cells[..] else {
            continue;
        };
        let Some(reason) = quoted(reason) else { continue };
        ensure!(
            !meaning.is_empty() && !remedy.is_empty(),
            "{reason}: an empty cell"
        );
        let code = quoted(code).with_context(|| format!("{reason}: no code"))?;
        let answer = (status.parse().context(reason.to_owned())?, code.to_owned());
        ensure!(
            rows.insert(reason.to_owned(), answer).is_none(),
            "{reason} stands there twice"
        );
    }
    Ok(rows)
}

fn quoted(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`')
}

#[test]
fn every_reason_is_documented_as_the_gateway_tells_it() -> Result<()> {
    let mut documented = documented()?;
    // All of them, found by number, so that a new one is missed as soon as it is in the contract.
    let reasons: Vec<_> = (0..1000)
        .filter_map(|number| ErrorReason::try_from(number).ok())
        .collect();
    ensure!(reasons.len() > 30, "the contract has many reasons");
    for reason in reasons {
        let rendering = rendering(reason);
        let code = serde_json::to_value(rendering.code)?;
        let code = code.as_str().context("a code is text")?.to_owned();
        let told = (rendering.status.as_u16(), code);
        let name = reason.as_str_name();
        assert_eq!(documented.remove(name), Some(told), "{name}");
    }
    assert!(documented.is_empty(), "no reasons: {documented:?}");
    Ok(())
}
