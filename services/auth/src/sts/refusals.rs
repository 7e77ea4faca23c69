//! Refusals, for the audit: who was refused what, and how often.
//!
//! Whoever is refused may try again as often as they like, and must not fill the log by it: within a minute what one caller
//! was refused is one event with a count, and the callers of a minute are bounded.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use roadstead_types::Principal;
use serde_json::json;

use crate::{
    domain::event::{AuditEvent, Author},
    error::Error,
};

/// Callers, each with what they were refused, of one minute. Of all others together there is one event.
const LIMIT: usize = 10_000;

/// Characters of a reason: what callers sent may stand in it.
const WHY_LIMIT: usize = 512;

/// Refusals that are not told yet.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<HashMap<Refused, Tally>>);

/// What is counted together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Refused {
    operation: &'static str,
    reason: &'static str,
    /// The group or repository; empty for the root, and for what is of no place.
    path: String,
    principal: Principal,
    /// Of callers whom no token made known.
    client_address: String,
}

#[derive(Debug)]
struct Tally {
    count: u64,
    /// Unix milliseconds.
    first_at: i64,
    last_at: i64,
    why: String,
    author: Author,
}

impl Refusals {
    /// Notes the outcome of an operation at `now` (Unix milliseconds), if it is a refusal.
    pub(crate) fn note<T>(
        &self,
        operation: &'static str,
        author: &Author,
        outcome: &Result<T, Error>,
        now: i64,
    ) {
        let Err(error) = outcome else { return };
        let Some((reason, path)) = refusal(error) else {
            return;
        };
        let is_known = !author.principal.is_anonymous();
        let refused = Refused {
            operation,
            reason,
            path,
            principal: author.principal.clone(),
            client_address: if is_known {
                String::new()
            } else {
                author.request.client_address.clone()
            },
        };
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = noted.len() < LIMIT || noted.contains_key(&refused);
        let tally = noted
            .entry(if has_room { refused } else { Refused::default() })
            .or_insert_with(|| Tally {
                count: 0,
                first_at: now,
                last_at: now,
                why: error.to_string().chars().take(WHY_LIMIT).collect(),
                author: if has_room {
                    author.clone()
                } else {
                    Author::default()
                },
            });
        tally.count += 1;
        tally.last_at = now;
    }

    /// Makes events of what was noted, and begins anew.
    pub(crate) fn take(&self) -> Vec<AuditEvent> {
        let noted = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        noted
            .into_iter()
            .map(|(refused, tally)| event(refused, tally))
            .collect()
    }
}

fn event(refused: Refused, tally: Tally) -> AuditEvent {
    AuditEvent {
        kind: "dev.roadstead.auth.refusal.v1",
        path: refused.path,
        subject: refused.principal.subject,
        data: json!({
            "operation": refused.operation,
            "reason": refused.reason,
            "why": tally.why,
            "count": tally.count,
            "first_at": tally.first_at,
            "last_at": tally.last_at,
        }),
        author: tally.author,
    }
}

/// What an error refuses, and where. What is only late or absent is no refusal.
fn refusal(error: &Error) -> Option<(&'static str, String)> {
    let nowhere = |reason| Some((reason, String::new()));
    match error {
        Error::TokenInvalid(_) => nowhere("TOKEN_INVALID"),
        Error::TokenRevoked => nowhere("TOKEN_REVOKED"),
        Error::IssuerUntrusted(_) => nowhere("ISSUER_UNTRUSTED"),
        Error::IdentityUnknown | Error::IdentityMismatch(_) => nowhere("IDENTITY_UNKNOWN"),
        Error::DevIssuerRefused => nowhere("DEV_ISSUER_REFUSED"),
        Error::CapabilityMissing { resource, .. } => Some(("CAPABILITY_MISSING", resource.path().to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use roadstead_proto::common::v1::RequestContext;

    use super::*;
    use crate::domain::{Capability, Resource};

    fn author(subject: &str, address: &str) -> Author {
        let principal = match subject {
            "" => Principal::anonymous(),
            subject => Principal::new("https://issuer.example", subject),
        };
        Author {
            principal,
            request: RequestContext {
                client_address: address.to_owned(),
                ..RequestContext::default()
            },
        }
    }

    fn lacking(path: &str) -> Result<(), Error> {
        Err(Error::CapabilityMissing {
            identity: "alice".to_owned(),
            resource: Resource::parse(path).unwrap(),
            capability: Capability::GroupsCreate,
        })
    }

    #[test]
    fn what_one_caller_is_refused_is_one_event_with_a_count() {
        let refusals = Refusals::default();
        for (now, address) in [(1, "192.0.2.1"), (2, "192.0.2.2"), (3, "192.0.2.3")] {
            refusals.note("create_group", &author("alice", address), &lacking("acme"), now);
        }
        refusals.note("create_group", &author("alice", "192.0.2.1"), &lacking("beta"), 4);
        refusals.note("create_group", &author("bob", "192.0.2.1"), &lacking("acme"), 5);
        let mut told: Vec<_> = refusals
            .take()
            .into_iter()
            .map(|event| (event.path, event.subject, event.data["count"].as_u64().unwrap()))
            .collect();
        told.sort();
        let expected = [("acme", "alice", 3), ("acme", "bob", 1), ("beta", "alice", 1)];
        assert_eq!(
            told,
            expected.map(|(path, subject, count)| (path.to_owned(), subject.to_owned(), count))
        );
        assert!(refusals.take().is_empty());
    }

    #[test]
    fn strangers_are_told_apart_by_address() {
        let refusals = Refusals::default();
        let invalid = || Err::<(), _>(Error::TokenInvalid("it is no signed JWT"));
        for address in ["192.0.2.1", "192.0.2.1", "192.0.2.2"] {
            refusals.note("exchange", &author("", address), &invalid(), 1);
        }
        assert_eq!(refusals.take().len(), 2);
    }

    #[test]
    fn what_is_no_refusal_is_not_noted() {
        let refusals = Refusals::default();
        let alice = author("alice", "");
        refusals.note("exchange", &alice, &Ok(()), 1);
        for error in [Error::TokenExpired, Error::TokenMissing, Error::NotFound("group")] {
            refusals.note("exchange", &alice, &Err::<(), _>(error), 1);
        }
        assert!(refusals.take().is_empty());
    }

    #[test]
    fn more_callers_than_fit_are_one_event() {
        let refusals = Refusals::default();
        for index in 0..LIMIT + 5 {
            let address = format!("10.0.{}.{}", index / 256, index % 256);
            let outcome = Err::<(), _>(Error::TokenRevoked);
            refusals.note("exchange", &author("", &address), &outcome, 1);
        }
        let told = refusals.take();
        assert_eq!(told.len(), LIMIT + 1);
        let others = told.iter().find(|event| event.data["operation"] == "").unwrap();
        assert_eq!(others.data["count"], 5);
    }
}
