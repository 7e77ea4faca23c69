//! What of an event the log looks at.

use bytes::Bytes;
use roadstead_types::RepositoryName;
use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The most bytes of one event. Intermediaries need not forward more (CloudEvents 1.0, "Size Limits").
pub(crate) const SIZE_LIMIT: usize = 64 * 1024;

const TEXT_LIMIT: usize = 512;

/// An event in its JSON format, with the attributes that the log files it under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CloudEvent {
    pub(crate) id: String,
    pub(crate) r#type: String,
    /// Under which repository the event is listed: that of its attribute `repository`, else what its `path` names. Empty for an
    /// event that is not about one.
    pub(crate) repository: String,
    /// Of an audit event: the group or repository that it is about, empty for the root. None for any other event.
    pub(crate) path: Option<String>,
    pub(crate) json: Bytes,
}

#[derive(Deserialize)]
struct Attributes {
    specversion: String,
    id: String,
    source: String,
    r#type: String,
    #[serde(default)]
    time: String,
    #[serde(default)]
    repository: String,
    #[serde(default)]
    path: Option<String>,
}

impl CloudEvent {
    /// Parses an event.
    ///
    /// # Errors
    ///
    /// Says what an event must have and this has not.
    pub(crate) fn parse(json: Bytes) -> Result<Self, String> {
        if json.len() > SIZE_LIMIT {
            return Err(format!("an event may have at most {SIZE_LIMIT} bytes"));
        }
        let attributes: Attributes = serde_json::from_slice(&json)
            .map_err(|error| format!("not a CloudEvent in JSON format: {error}"))?;
        if attributes.specversion != "1.0" {
            return Err("specversion must be \"1.0\"".to_owned());
        }
        let Attributes {
            id,
            source,
            r#type,
            time,
            repository,
            path,
            ..
        } = attributes;
        for (name, value) in [("id", &id), ("source", &source), ("type", &r#type)] {
            if value.is_empty() {
                return Err(format!("{name} must not be empty"));
            }
        }
        for (name, value) in [("id", &id), ("type", &r#type), ("repository", &repository)] {
            if value.len() > TEXT_LIMIT {
                return Err(format!("{name} is longer than {TEXT_LIMIT} bytes"));
            }
        }
        if !time.is_empty() && OffsetDateTime::parse(&time, &Rfc3339).is_err() {
            return Err("time must be as in RFC 3339".to_owned());
        }
        if path
            .as_deref()
            .is_some_and(|path| !path.is_empty() && RepositoryName::parse(path).is_err())
        {
            return Err("path must be that of a group or a repository, or empty for the root".to_owned());
        }
        let repository = if repository.is_empty() {
            path.clone().unwrap_or_default()
        } else {
            repository
        };
        Ok(Self {
            id,
            r#type,
            repository,
            path,
            json,
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const GOOD: &str = r#"{"specversion":"1.0","id":"1","source":"/registry","type":"dev.roadstead.registry.pull.v1",
        "time":"2026-01-02T03:04:05.678Z","repository":"acme/web","data":{"anything":[1,2]}}"#;

    #[test]
    fn an_event_is_kept_as_it_came() {
        let event = CloudEvent::parse(Bytes::from_static(GOOD.as_bytes())).unwrap();
        assert_eq!(event.id, "1");
        assert_eq!(event.r#type, "dev.roadstead.registry.pull.v1");
        assert_eq!(event.repository, "acme/web");
        assert_eq!(event.path, None);
        assert_eq!(event.json, GOOD);
    }

    #[rstest]
    #[case("")]
    #[case("acme")]
    #[case("acme/web")]
    fn an_audit_event_says_what_it_is_about(#[case] path: &str) {
        let json = GOOD.replace(r#""id""#, &format!(r#""path":"{path}","id""#));
        let event = CloudEvent::parse(json.clone().into()).unwrap();
        assert_eq!(event.path.as_deref(), Some(path));
        assert_eq!(event.repository, "acme/web");
        let placed = json.replace(r#""repository":"acme/web","#, "");
        assert_eq!(CloudEvent::parse(placed.into()).unwrap().repository, path);
    }

    #[rstest]
    #[case::no_json("nothing")]
    #[case::no_object("[]")]
    #[case::no_id(&GOOD.replace(r#""id":"1","#, ""))]
    #[case::empty_id(&GOOD.replace(r#""id":"1""#, r#""id":"""#))]
    #[case::numeric_id(&GOOD.replace(r#""id":"1""#, r#""id":1"#))]
    #[case::no_source(&GOOD.replace(r#""source":"/registry","#, ""))]
    #[case::no_type(&GOOD.replace(r#""type""#, r#""kind""#))]
    #[case::other_version(&GOOD.replace("1.0", "0.3"))]
    #[case::no_time(&GOOD.replace("2026-01-02T03:04:05.678Z", "yesterday"))]
    #[case::path_of_nothing(&GOOD.replace(r#""id""#, r#""path":"Acme/..","id""#))]
    #[case::path_of_no_text(&GOOD.replace(r#""id""#, r#""path":7,"id""#))]
    #[case::too_long(&GOOD.replace("anything", &"x".repeat(SIZE_LIMIT)))]
    fn what_is_no_event_is_refused(#[case] json: &str) {
        assert!(CloudEvent::parse(Bytes::copy_from_slice(json.as_bytes())).is_err());
    }
}
