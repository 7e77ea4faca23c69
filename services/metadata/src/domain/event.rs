//! CloudEvents 1.0 in their JSON format.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::{Builder, NoContext, Timestamp, Uuid};

use super::author::Author;

/// What happened to a manifest, a tag or a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventKind {
    Push,
    Delete,
}

impl EventKind {
    fn event_type(self) -> &'static str {
        match self {
            Self::Push => "dev.roadstead.registry.push.v1",
            Self::Delete => "dev.roadstead.registry.delete.v1",
        }
    }

    fn method(self) -> &'static str {
        match self {
            Self::Push => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// What an event is about.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Change<'a> {
    pub(crate) tag: Option<&'a str>,
    /// What is there now, or what was deleted by digest.
    pub(crate) digest: Option<&'a str>,
    /// What the tag pointed at before.
    pub(crate) previous_digest: Option<&'a str>,
    pub(crate) media_type: Option<&'a str>,
    /// Orders the events of one tag.
    pub(crate) tag_version: Option<i64>,
}

/// An event ready for the outbox.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) json: Vec<u8>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    specversion: &'a str,
    id: &'a str,
    source: &'a str,
    r#type: &'a str,
    subject: String,
    time: String,
    datacontenttype: &'a str,
    repository: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    repository: &'a str,
    repository_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_digest: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag_version: Option<i64>,
    actor: Actor<'a>,
    request_id: &'a str,
    client_address: &'a str,
    user_agent: &'a str,
    method: &'a str,
}

#[derive(Serialize)]
struct Actor<'a> {
    issuer: &'a str,
    subject: &'a str,
}

/// Builds the event of a change that `author` made in the repository (name and public id) at `now` (Unix milliseconds).
pub(crate) fn event(
    kind: EventKind,
    (repository, repository_id): (&str, &str),
    change: &Change<'_>,
    author: &Author,
    now: i64,
) -> Event {
    let subject = match change.tag {
        Some(tag) => format!("{repository}:{tag}"),
        None => format!("{repository}@{}", change.digest.unwrap_or_default()),
    };
    let id = match author.request.operation {
        Some(operation) => repeatable_id(operation, kind, &subject, change),
        None => new_id(now),
    }
    .to_string();
    let envelope = Envelope {
        specversion: "1.0",
        id: &id,
        source: "/registry",
        r#type: kind.event_type(),
        subject,
        time: rfc3339(now),
        datacontenttype: "application/json",
        repository,
        traceparent: author.request.trace_parent.as_deref(),
        data: Data {
            repository,
            repository_id,
            tag: change.tag,
            digest: change.digest,
            previous_digest: change.previous_digest,
            media_type: change.media_type,
            tag_version: change.tag_version,
            actor: Actor {
                issuer: &author.principal.issuer,
                subject: &author.principal.subject,
            },
            request_id: &author.request.request_id,
            client_address: &author.request.client_address,
            user_agent: &author.request.user_agent,
            method: kind.method(),
        },
    };
    let json = serde_json::to_vec(&envelope).unwrap_or_default();
    Event { id, json }
}

fn new_id(now: i64) -> Uuid {
    let since_epoch = Duration::from_millis(u64::try_from(now).unwrap_or_default());
    let timestamp = Timestamp::from_unix(NoContext, since_epoch.as_secs(), since_epoch.subsec_nanos());
    Uuid::new_v7(timestamp)
}

/// The id of an event of an operation: the same when the operation is attempted again, with the operation's time. All
/// that tells one event of an operation from another is hashed into it, so that a caller who uses an operation twice
/// hides nothing that is not told already.
fn repeatable_id(operation: Uuid, kind: EventKind, subject: &str, change: &Change<'_>) -> Uuid {
    let digest = change.digest.unwrap_or_default();
    let version = change.tag_version.unwrap_or_default();
    let event = format!("{operation} {} {subject} {digest} {version}", kind.event_type());
    let hash = Sha256::digest(event.as_bytes());
    // The first 48 bits of 128 are the time.
    let millis = u64::try_from(operation.as_u128() >> 80).unwrap_or_default();
    let mut random = [0; 10];
    random.copy_from_slice(&hash[..10]);
    Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

/// Formats Unix milliseconds as RFC 3339 in UTC.
pub(crate) fn rfc3339(millis: i64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or_default());
    OffsetDateTime::from(time).format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use roadstead_types::Principal;
    use serde_json::Value;

    use super::*;
    use crate::domain::author::RequestInfo;

    #[test]
    fn an_event_says_what_who_and_when() {
        let author = Author {
            principal: Principal {
                issuer: "https://issuer".to_owned(),
                subject: "alice".to_owned(),
            },
            token_hash: [0; 32],
            expired: false,
            request: RequestInfo {
                request_id: "r1".to_owned(),
                ..RequestInfo::default()
            },
        };
        let change = Change {
            tag: Some("v1"),
            digest: Some("sha256:aa"),
            tag_version: Some(3),
            ..Change::default()
        };
        let event = event(
            EventKind::Push,
            ("acme/web", "id"),
            &change,
            &author,
            1_700_000_000_123,
        );
        let json: Value = serde_json::from_slice(&event.json).unwrap();
        assert_eq!(json["id"], event.id.as_str());
        assert_eq!(json["time"], "2023-11-14T22:13:20.123Z");
        assert_eq!(json["subject"], "acme/web:v1");
        assert_eq!(json["type"], "dev.roadstead.registry.push.v1");
        assert_eq!(json["data"]["tag_version"], 3);
        assert_eq!(json["data"]["actor"]["subject"], "alice");
        assert!(json["data"].get("previous_digest").is_none());
        assert_eq!(Uuid::parse_str(&event.id).unwrap().get_version_num(), 7);
    }
    #[test]
    fn a_repeated_operation_keeps_the_ids_of_its_events() {
        let of = |operation, tag, version| {
            let author = Author {
                principal: Principal::anonymous(),
                token_hash: [0; 32],
                expired: false,
                request: RequestInfo {
                    operation,
                    ..RequestInfo::default()
                },
            };
            let change = Change {
                tag: Some(tag),
                digest: Some("sha256:aa"),
                tag_version: Some(version),
                ..Change::default()
            };
            event(EventKind::Push, ("acme/web", "id"), &change, &author, version).id
        };
        let operation = new_id(1_700_000_000_123);
        let id = of(Some(operation), "v1", 3);
        assert_eq!(of(Some(operation), "v1", 3), id);
        assert_eq!(
            Uuid::parse_str(&id).unwrap().get_timestamp(),
            operation.get_timestamp()
        );
        for other in [
            of(Some(operation), "v2", 3),
            of(Some(operation), "v1", 4),
            of(Some(new_id(1_700_000_000_123)), "v1", 3),
            of(None, "v1", 3),
        ] {
            assert_ne!(other, id);
        }
    }
}
