//! Refusal events: which known identity was refused what. They are for auditors.
//!
//! Whoever is refused may try again as often as they like, and must not fill the log by it: in each interval, what one identity
//! was refused at one place is one event with a count. Identities and places are bounded; beyond, refusals are only counted.

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use roadstead_rpc::{RpcChannel, TaskSet};
use roadstead_types::{Action, Clock, Principal, RepositoryName};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    call::Call,
    error::Refusal,
    publisher::{BATCH, Counters, Publisher, rfc3339},
};

/// Identities in one interval.
const IDENTITIES: usize = 500;
/// Places of one identity in one interval, after which all others are one event.
const PLACES: usize = 8;
const COUNTERS: Counters = Counters {
    published: "gateway_refusal_events_published_total",
    dropped: "gateway_refusal_events_dropped_total",
};

/// Where refusals are noted.
#[derive(Clone, Debug)]
pub(crate) struct Refusals {
    folded: Arc<Mutex<HashMap<Principal, OfOne>>>,
    clock: Clock,
}

/// What one identity was refused, by place; under none what was refused at further places.
type OfOne = BTreeMap<Option<(RepositoryName, Action)>, Tally>;

/// Refusals at one place.
#[derive(Debug)]
struct Tally {
    count: u64,
    first_millis: i64,
    last: Refused,
}

/// One of them.
#[derive(Debug)]
struct Refused {
    unix_millis: i64,
    why: String,
    status: StatusCode,
    request_id: HeaderValue,
    client: IpAddr,
    user_agent: String,
}

impl Refusals {
    /// Starts the task of `tasks` that makes events of refusals in every `interval`.
    pub(crate) fn start(events: &RpcChannel, interval: Duration, clock: Clock, tasks: &TaskSet) -> Self {
        let refusals = Self {
            folded: Arc::default(),
            clock,
        };
        let (noted, stop) = (refusals.clone(), tasks.token().clone());
        let mut publisher = Publisher::new(events, stop.clone(), COUNTERS);
        tasks.spawn("refusal-events", async move {
            while !stop.is_cancelled() {
                let _ = stop.run_until_cancelled(tokio::time::sleep(interval)).await;
                let events = noted.take();
                for batch in events.chunks(BATCH) {
                    publisher.deliver(batch.to_vec()).await;
                }
            }
        });
        refusals
    }

    /// Notes a refusal.
    pub(crate) fn note(
        &self,
        call: &Call,
        refusal: &Refusal,
        (repository, action): (&RepositoryName, Action),
        status: StatusCode,
    ) {
        let mut folded = self.folded.lock().unwrap_or_else(PoisonError::into_inner);
        if folded.len() >= IDENTITIES && !folded.contains_key(&refusal.principal) {
            return COUNTERS.count_dropped(1);
        }
        let refused = Refused {
            unix_millis: self.clock.unix_millis(),
            why: refusal.why.clone().into_owned(),
            status,
            request_id: call.request_id.clone(),
            client: call.client,
            user_agent: call.user_agent().to_owned(),
        };
        let of_one = folded.entry(refusal.principal.clone()).or_default();
        let place = Some((repository.clone(), action));
        let has_room = of_one.len() < PLACES || of_one.contains_key(&place);
        match of_one.entry(place.filter(|_| has_room)) {
            Entry::Occupied(mut tally) => {
                tally.get_mut().count += 1;
                tally.get_mut().last = refused;
            }
            Entry::Vacant(free) => {
                free.insert(Tally {
                    count: 1,
                    first_millis: refused.unix_millis,
                    last: refused,
                });
            }
        }
    }

    /// Makes events of what was noted, and begins anew.
    fn take(&self) -> Vec<Bytes> {
        let folded = std::mem::take(&mut *self.folded.lock().unwrap_or_else(PoisonError::into_inner));
        let events_of = |(principal, of_one): (Principal, OfOne)| {
            of_one
                .into_iter()
                .map(move |(place, tally)| Bytes::from(tally.event(&principal, place).to_string()))
        };
        folded.into_iter().flat_map(events_of).collect()
    }
}

impl Tally {
    /// What was refused at several places is told as of the root, to those who may read all of the audit.
    fn event(&self, principal: &Principal, place: Option<(RepositoryName, Action)>) -> Value {
        let last = &self.last;
        let mut data = json!({
            "actor": { "issuer": principal.issuer, "subject": principal.subject },
            "count": self.count,
            "first_at": rfc3339(self.first_millis),
            "last_at": rfc3339(last.unix_millis),
            "reason": last.why,
            "status": last.status.as_u16(),
            "request_id": last.request_id.to_str().unwrap_or_default(),
            "client_address": last.client.to_string(),
            "user_agent": last.user_agent,
        });
        let mut event = json!({
            "specversion": "1.0",
            "id": Uuid::now_v7().to_string(),
            "source": "/registry",
            "type": "dev.roadstead.registry.refusal.v1",
            "time": rfc3339(last.unix_millis),
            "datacontenttype": "application/json",
            "path": "",
        });
        if let Some((repository, action)) = place {
            data["repository"] = json!(repository.as_str());
            data["action"] = json!(action.as_str());
            data["capability"] = json!(format!("repo.{action}"));
            event["subject"] = json!(repository.as_str());
            event["repository"] = json!(repository.as_str());
            event["path"] = json!(repository.as_str());
        }
        event["data"] = data;
        event
    }
}
