//! Audit events: CloudEvents 1.0 in their JSON format.

use std::time::{Duration, UNIX_EPOCH};

use roadstead_proto::common::v1::RequestContext;
use roadstead_types::Principal;
use serde::Serialize;
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::{NoContext, Timestamp, Uuid};

/// Who did something, and with which request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Author {
    pub(crate) principal: Principal,
    pub(crate) request: RequestContext,
}

impl Author {
    /// A part of the registry that acts by itself: `configuration`, `metadata`.
    pub(crate) fn own(part: &str) -> Self {
        Self {
            principal: Principal::new("roadstead", part),
            request: RequestContext::default(),
        }
    }
}

/// Something that happened, for whoever may read of it.
#[derive(Clone, Debug)]
pub(crate) struct AuditEvent {
    /// `dev.roadstead.iam.binding.created.v1`.
    pub(crate) kind: &'static str,
    /// The group or repository that it is about; empty for the root. Who may read of it follows from this.
    pub(crate) path: String,
    /// What it is about: a binding's id, a group's path.
    pub(crate) subject: String,
    /// An object. No secret is in it.
    pub(crate) data: Value,
    pub(crate) author: Author,
}

#[derive(Serialize)]
struct Envelope<'a> {
    specversion: &'a str,
    id: &'a str,
    source: &'a str,
    r#type: &'a str,
    subject: &'a str,
    time: String,
    datacontenttype: &'a str,
    path: &'a str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    #[serde(flatten)]
    about: &'a Value,
    actor: Actor<'a>,
    request_id: &'a str,
    client_address: &'a str,
    user_agent: &'a str,
}

#[derive(Serialize)]
struct Actor<'a> {
    issuer: &'a str,
    subject: &'a str,
}

impl AuditEvent {
    /// Writes the event as it happened at `now` (Unix milliseconds), and gives its id with it.
    pub(crate) fn encode(&self, now: i64) -> Result<(String, Vec<u8>), serde_json::Error> {
        let id = new_id(now).to_string();
        let request = &self.author.request;
        let envelope = Envelope {
            specversion: "1.0",
            id: &id,
            source: "/auth",
            r#type: self.kind,
            subject: &self.subject,
            time: rfc3339(now),
            datacontenttype: "application/json",
            path: &self.path,
            data: Data {
                about: &self.data,
                actor: Actor {
                    issuer: &self.author.principal.issuer,
                    subject: &self.author.principal.subject,
                },
                request_id: &request.request_id,
                client_address: &request.client_address,
                user_agent: &request.user_agent,
            },
        };
        let json = serde_json::to_vec(&envelope)?;
        Ok((id, json))
    }
}

/// A version 7 UUID of a time in Unix milliseconds.
pub(crate) fn new_id(now: i64) -> Uuid {
    let since_epoch = Duration::from_millis(u64::try_from(now).unwrap_or_default());
    let timestamp = Timestamp::from_unix(NoContext, since_epoch.as_secs(), since_epoch.subsec_nanos());
    Uuid::new_v7(timestamp)
}

fn rfc3339(millis: i64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or_default());
    OffsetDateTime::from(time).format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_says_what_where_who_and_when() {
        let event = AuditEvent {
            kind: "dev.roadstead.iam.group.created.v1",
            path: "acme".to_owned(),
            subject: "acme".to_owned(),
            data: json!({"display_name": "Acme"}),
            author: Author {
                principal: Principal::new("https://issuer.example", "alice"),
                request: RequestContext {
                    client_address: "192.0.2.1".to_owned(),
                    ..RequestContext::default()
                },
            },
        };
        let (id, json) = event.encode(1_700_000_000_123).unwrap();
        let json: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["id"], id.as_str());
        assert_eq!(json["type"], event.kind);
        assert_eq!(json["path"], "acme");
        assert_eq!(json["time"], "2023-11-14T22:13:20.123Z");
        assert_eq!(json["data"]["display_name"], "Acme");
        assert_eq!(json["data"]["actor"]["subject"], "alice");
        assert_eq!(json["data"]["client_address"], "192.0.2.1");
    }
}
