//! The event log must tell what happened: all of it, once, and nothing else.
//!
//! Clients name their requests, and events carry the names. So each event is held against the one change it is of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use rusqlite::Connection;
use serde_json::Value;

use super::{Invariant, Problems, open, rows};
use crate::ledger::{Change, Effect, Ledger, Outcome};

const PULL: &str = "dev.roadstead.registry.pull.v1";
const REFUSAL: &str = "dev.roadstead.registry.refusal.v1";
/// What the types of events of content, its pulls and refusals begin with.
const REGISTRY: &str = "dev.roadstead.registry.";
const PUSH: &str = "dev.roadstead.registry.push.v1";
const DELETE: &str = "dev.roadstead.registry.delete.v1";

/// A line of a tag's history: repository, tag and version; digest and request.
type Line = ((String, String, i64), (Option<String>, String));

/// What an event says of a change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    event_type: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
    previous_digest: Option<String>,
    tag_version: Option<i64>,
    request: String,
}

/// Compares the log with the changes, and with the history of tags.
pub fn check(data: &Path, ledger: &Ledger, problems: &mut Problems) -> Result<()> {
    let log = open(data, "events")?;
    let events = read(&log)?;
    check_log(&log, problems)?;
    let mut by_request: BTreeMap<&str, Vec<&Said>> = BTreeMap::new();
    for event in &events {
        by_request.entry(&event.request).or_default().push(event);
    }
    for change in ledger.changes() {
        let said: Vec<&Said> = change
            .requests
            .iter()
            .filter_map(|request| by_request.get(request.as_str()))
            .flatten()
            .copied()
            .collect();
        check_change(change, &said, problems);
    }
    let asked: BTreeSet<&str> = ledger
        .changes()
        .iter()
        .flat_map(|change| change.requests.iter().map(String::as_str))
        .collect();
    for (request, said) in by_request {
        if !asked.contains(request) {
            problems.add(Invariant::Announced, format!("nobody asked for {said:?}"));
        }
    }
    check_history(&open(data, "metadata")?, &events, problems)
}

/// Compares what the API listed, as JSON, with what the log holds. Pulls may have been logged since.
pub fn check_listed(data: &Path, listed: &str, problems: &mut Problems) -> Result<()> {
    let listed: Value = serde_json::from_str(listed)?;
    let listed: Vec<(Option<i64>, &str)> = listed
        .as_array()
        .into_iter()
        .flatten()
        .map(|line| {
            let id = line["event"]["id"].as_str().unwrap_or_default();
            (line["offset"].as_i64(), id)
        })
        .collect();
    let sql = "SELECT log_offset, id, type FROM event ORDER BY log_offset";
    let held = rows(&open(data, "events")?, sql, |row| {
        Ok((row.get(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
    })?;
    let (then, since) = held.split_at(listed.len().min(held.len()));
    let then = then.iter().map(|(offset, id, _)| (Some(*offset), id.as_str()));
    if !listed.iter().copied().eq(then) || since.iter().any(|(_, _, event_type)| is_change(event_type)) {
        let (listed, held) = (listed.len(), held.len());
        problems.add(
            Invariant::Announced,
            format!("the API lists {listed} events, which are not the {held} of the log"),
        );
    }
    Ok(())
}

/// Whether an event tells of a change of content. Pulls and refusals may be lost and change nothing; what auth tells is about
/// other things.
fn is_change(event_type: &str) -> bool {
    event_type.starts_with(REGISTRY) && event_type != PULL && event_type != REFUSAL
}

/// All events of changes of content.
fn read(log: &Connection) -> Result<Vec<Said>> {
    let sql = "SELECT cloudevent FROM event ORDER BY log_offset";
    let mut events = Vec::new();
    for json in rows(log, sql, |row| row.get::<_, Vec<u8>>(0))? {
        let event: Value = serde_json::from_slice(&json)?;
        let (outer, data) = (&event, &event["data"]);
        let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
        if outer["type"].as_str().is_none_or(is_change) {
            events.push(Said {
                event_type: text(&outer["type"]).unwrap_or_default(),
                repository: text(&data["repository"]).unwrap_or_default(),
                tag: text(&data["tag"]),
                digest: text(&data["digest"]),
                previous_digest: text(&data["previous_digest"]),
                tag_version: data["tag_version"].as_i64(),
                request: text(&data["request_id"]).unwrap_or_default(),
            });
        }
    }
    Ok(events)
}

/// Offsets have no gaps, and nothing was set aside as no event.
fn check_log(log: &Connection, problems: &mut Problems) -> Result<()> {
    let sql = "SELECT count(*), coalesce(max(log_offset), 0), (SELECT next_offset FROM log_partition),
                   (SELECT count(*) FROM rejected_event) FROM event";
    let (count, last, next, rejected): (i64, i64, i64, i64) = log.query_row(sql, [], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
    })?;
    if count != last || next != last + 1 || rejected != 0 {
        problems.add(
            Invariant::Announced,
            format!("{count} events up to offset {last}, the next is {next}, {rejected} were rejected"),
        );
    }
    Ok(())
}

fn check_change(change: &Change, said: &[&Said], problems: &mut Problems) {
    let expected = expected(&change.effect);
    let (matching, others): (Vec<&Said>, Vec<&Said>) = said
        .iter()
        .copied()
        .partition(|event| expected.iter().any(|expected| is_same(event, expected)));
    let once = expected.iter().all(|expected| {
        let same = matching.iter().filter(|event| is_same(event, expected));
        same.count() == 1
    });
    let right = match change.outcome {
        Outcome::Acknowledged => once,
        Outcome::Refused => matching.is_empty(),
        // All of it or nothing.
        Outcome::Unknown => once || matching.is_empty(),
    };
    if !right {
        problems.add(
            Invariant::Announced,
            format!("{change:?} was announced as {said:?}"),
        );
    }
    for event in others {
        // The tags that went with a manifest. That they were there, the history of tags shows.
        let with_manifest = matches!(&change.effect, Effect::DeleteManifest(_, digest)
            if event.event_type == DELETE && event.previous_digest.as_deref() == Some(digest.as_str()));
        if !with_manifest || matching.is_empty() {
            problems.add(Invariant::Announced, format!("{change:?} was not {event:?}"));
        }
    }
}

fn is_same(event: &Said, expected: &Said) -> bool {
    // A tag's deletion says what was there before, which clients need not know.
    let digest = expected.digest.is_none() || event.digest == expected.digest;
    (&event.event_type, &event.repository, &event.tag)
        == (&expected.event_type, &expected.repository, &expected.tag)
        && digest
}

/// The events that a change must cause.
fn expected(effect: &Effect) -> Vec<Said> {
    let said = |event_type: &str, tag: Option<&String>, digest: Option<String>| Said {
        event_type: event_type.to_owned(),
        repository: effect.repository().to_owned(),
        tag: tag.cloned(),
        digest,
        previous_digest: None,
        tag_version: None,
        request: String::new(),
    };
    match effect {
        Effect::PushManifest(_, digest, tags) if !tags.is_empty() => tags
            .iter()
            .map(|tag| said(PUSH, Some(tag), Some(digest.to_string())))
            .collect(),
        Effect::PushBlob(_, digest) | Effect::PushManifest(_, digest, _) => {
            vec![said(PUSH, None, Some(digest.to_string()))]
        }
        Effect::DeleteBlob(_, digest) | Effect::DeleteManifest(_, digest) => {
            vec![said(DELETE, None, Some(digest.to_string()))]
        }
        Effect::DeleteTag(_, tag) => vec![said(DELETE, Some(tag), None)],
    }
}

/// Every line of a tag's history has its one event, and every event of a tag its line.
fn check_history(metadata: &Connection, events: &[Said], problems: &mut Problems) -> Result<()> {
    let sql = "SELECT r.name, h.tag, h.version, h.digest, h.request_id FROM tag_history h
               JOIN repositories r ON r.id = h.repository_id";
    let history: BTreeMap<_, _> = rows(metadata, sql, |row| -> rusqlite::Result<Line> {
        Ok((
            (row.get(0)?, row.get(1)?, row.get(2)?),
            (row.get(3)?, row.get(4)?),
        ))
    })?
    .into_iter()
    .collect();
    let mut announced = BTreeSet::new();
    for event in events {
        let (Some(tag), Some(version)) = (&event.tag, event.tag_version) else {
            continue;
        };
        let key = (event.repository.clone(), tag.clone(), version);
        match history.get(&key) {
            Some((digest, request)) if *digest == event.digest => {
                // A push of what is there already is announced again, under its own request.
                if *request == event.request {
                    announced.insert(key);
                }
            }
            line => problems.add(
                Invariant::Announced,
                format!("{event:?}, but the history has {line:?}"),
            ),
        }
    }
    for (key, line) in &history {
        if !announced.contains(key) {
            problems.add(
                Invariant::Announced,
                format!("{key:?} {line:?} was not announced"),
            );
        }
    }
    Ok(())
}
