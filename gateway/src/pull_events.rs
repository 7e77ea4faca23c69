//! Pull events: what the gateway alone sees. They are told on a best effort: a full buffer drops the newest and counts
//! them, and a pull never waits.

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use http::HeaderValue;
use roadstead_rpc::{RpcChannel, TaskSet};
use roadstead_types::{Clock, Principal, RepositoryName, Tag, media_type};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    call::Call,
    publisher::{BATCH, Counters, Publisher, rfc3339},
};

/// How long a batch gathers.
const GATHER: Duration = Duration::from_millis(500);
const COUNTERS: Counters = Counters {
    published: "gateway_pull_events_published_total",
    dropped: "gateway_pull_events_dropped_total",
};

/// Where pulls are reported.
#[derive(Debug)]
pub(crate) struct PullEvents {
    sender: mpsc::Sender<PullEvent>,
}

/// What was pulled.
#[derive(Debug)]
pub(crate) enum Pulled {
    Manifest { tag: Option<Tag>, media_type: String },
    Blob,
}

/// One pull, as it is noted on the request's path; the rest is made by the publisher.
#[derive(Debug)]
pub(crate) struct PullEvent {
    unix_millis: i64,
    repository: RepositoryName,
    repository_id: String,
    digest: String,
    pulled: Pulled,
    actor: Option<Principal>,
    request_id: HeaderValue,
    client: IpAddr,
    user_agent: String,
}

impl PullEvent {
    pub(crate) fn new(
        clock: &Clock,
        call: &Call,
        actor: Option<&Principal>,
        repository: RepositoryName,
        repository_id: String,
        digest: String,
        pulled: Pulled,
    ) -> Self {
        Self {
            unix_millis: clock.unix_millis(),
            repository,
            repository_id,
            digest,
            pulled,
            actor: actor.cloned(),
            request_id: call.request_id.clone(),
            client: call.client,
            user_agent: call.user_agent().to_owned(),
        }
    }
}

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: String,
    source: &'static str,
    #[serde(rename = "type")]
    event_type: &'static str,
    subject: String,
    time: String,
    datacontenttype: &'static str,
    repository: &'a str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    repository: &'a str,
    repository_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
    digest: &'a str,
    media_type: &'a str,
    kind: &'static str,
    actor: Actor<'a>,
    request_id: &'a str,
    client_address: String,
    user_agent: &'a str,
    method: &'static str,
}

#[derive(Serialize)]
struct Actor<'a> {
    issuer: &'a str,
    subject: &'a str,
}

impl PullEvent {
    fn to_json(&self) -> Vec<u8> {
        let repository = self.repository.as_str();
        let (tag, media_type, kind) = match &self.pulled {
            Pulled::Manifest { tag, media_type } => {
                (tag.as_ref().map(Tag::as_str), media_type.as_str(), "manifest")
            }
            Pulled::Blob => (None, media_type::OCTET_STREAM, "blob"),
        };
        let subject = match tag {
            Some(tag) => format!("{repository}:{tag}"),
            None => format!("{repository}@{}", self.digest),
        };
        let actor = self.actor.as_ref();
        let event = CloudEvent {
            specversion: "1.0",
            id: Uuid::now_v7().to_string(),
            source: "/registry",
            event_type: "dev.roadstead.registry.pull.v1",
            subject,
            time: rfc3339(self.unix_millis),
            datacontenttype: "application/json",
            repository,
            data: Data {
                repository,
                repository_id: &self.repository_id,
                tag,
                digest: &self.digest,
                media_type,
                kind,
                actor: Actor {
                    issuer: actor.map_or("", |actor| &actor.issuer),
                    subject: actor.map_or("", |actor| &actor.subject),
                },
                request_id: self.request_id.to_str().unwrap_or_default(),
                client_address: self.client.to_string(),
                user_agent: &self.user_agent,
                method: "GET",
            },
        };
        // Plain text and numbers always serialise.
        serde_json::to_vec(&event).unwrap_or_default()
    }
}

impl PullEvents {
    /// Starts the publisher as a task of `tasks`.
    pub(crate) fn start(events: &RpcChannel, capacity: usize, tasks: &TaskSet) -> Self {
        let (sender, receiver) = mpsc::channel(capacity);
        let stop = tasks.token().clone();
        let publisher = Publisher::new(events, stop.clone(), COUNTERS);
        tasks.spawn("pull-events", run(publisher, receiver, stop));
        Self { sender }
    }

    /// Notes a pull if there is room.
    pub(crate) fn publish(&self, event: impl FnOnce() -> PullEvent) {
        match self.sender.try_reserve() {
            Ok(permit) => permit.send(event()),
            Err(_) => COUNTERS.count_dropped(1),
        }
    }
}

async fn run(mut publisher: Publisher, mut receiver: mpsc::Receiver<PullEvent>, stop: CancellationToken) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let received = stop
            .run_until_cancelled(receiver.recv_many(&mut batch, BATCH))
            .await;
        if !matches!(received, Some(1..)) {
            break;
        }
        if batch.len() < BATCH
            && stop
                .run_until_cancelled(tokio::time::sleep(GATHER))
                .await
                .is_some()
        {
            while batch.len() < BATCH
                && let Ok(event) = receiver.try_recv()
            {
                batch.push(event);
            }
        }
        publisher.deliver(encode(&mut batch)).await;
    }
    receiver.close();
    while receiver.recv_many(&mut batch, BATCH).await > 0 {
        publisher.deliver(encode(&mut batch)).await;
    }
}

fn encode(batch: &mut Vec<PullEvent>) -> Vec<Bytes> {
    batch.drain(..).map(|event| event.to_json().into()).collect()
}
