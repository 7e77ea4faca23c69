//! What of an event the log looks at.

use bytes::Bytes;
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
    /// Empty for an event that is not about one repository.
    pub(crate) repository: String,
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
        Ok(Self {
            id,
            r#type,
            repository,
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
        assert_eq!(event.json, GOOD);
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
    #[case::too_long(&GOOD.replace("anything", &"x".repeat(SIZE_LIMIT)))]
    fn what_is_no_event_is_refused(#[case] json: &str) {
        assert!(CloudEvent::parse(Bytes::copy_from_slice(json.as_bytes())).is_err());
    }
}
