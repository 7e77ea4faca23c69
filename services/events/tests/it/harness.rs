//! The service with what it calls.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use roadstead_events::{Config, Deps, OpenError};
use roadstead_proto::events::v1::{
    ListEventsRequest, ListEventsResponse, PublishEventsRequest,
    event_query_service_client::EventQueryServiceClient, ingest_service_client::IngestServiceClient,
};
use roadstead_rpc::{CallPolicy, ErrorReason, MAX_MESSAGE_BYTES, Peer, RpcChannel};
use roadstead_runtime::{BuiltService, DirectoryError};
use roadstead_testkit::{TestAuthority, TestDirectory, TestKeys, test_dir};
use roadstead_types::{Clock, ClockControl, Principal};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use crate::outbox::Outbox;

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
pub(crate) const PULL: &str = "dev.roadstead.registry.pull.v1";
pub(crate) const PUSH: &str = "dev.roadstead.registry.push.v1";
pub(crate) const REFUSAL: &str = "dev.roadstead.registry.refusal.v1";

pub(crate) struct Harness {
    pub(crate) directory: TestDirectory,
    pub(crate) outbox: Outbox,
    pub(crate) auth_outbox: Outbox,
    pub(crate) keys: TestKeys,
    pub(crate) authority: TestAuthority,
    pub(crate) time: ClockControl,
    clock: Clock,
    config: Config,
    service: Option<BuiltService>,
}

impl Harness {
    pub(crate) async fn start() -> Self {
        let quick = Duration::from_millis(5);
        Self::with(Config {
            drain_interval: quick,
            prune_interval: quick,
            ..Config::default()
        })
        .await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let (clock, time) = Clock::fixed(SystemTime::UNIX_EPOCH + Duration::from_hours(500_000));
        let keys = TestKeys::new(clock.clone());
        let mut harness = Self {
            directory: test_dir(),
            outbox: Outbox::default(),
            auth_outbox: Outbox::default(),
            authority: keys.authority(),
            keys,
            time,
            clock,
            config,
            service: None,
        };
        harness.outbox.watch(harness.database());
        harness.auth_outbox.watch(harness.database());
        harness.authority.grant_read(&reader(), "");
        harness.service = Some(harness.build().await.unwrap());
        harness
    }

    pub(crate) async fn build(&self) -> Result<BuiltService, OpenError> {
        let deps = Deps {
            clock: self.clock.clone(),
            data_dir: self.directory.path().to_owned(),
            auth: self.auth_outbox.channel_with(&self.authority),
            metadata: self.outbox.channel(),
            shutdown: CancellationToken::new(),
        };
        roadstead_events::build(self.config.clone(), deps).await
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.directory.path().join("events/events.db")
    }

    pub(crate) async fn stop(&mut self) {
        let service = self.service.take().unwrap();
        drop(service.server);
        assert_eq!(service.tasks.stop(DEADLINE).await, Vec::<String>::new());
    }

    /// Opens the log again as soon as the stopped service has let go of it.
    pub(crate) async fn reopen(&self) -> Result<BuiltService, OpenError> {
        let opened = async {
            loop {
                match self.build().await {
                    Err(OpenError::Directory(DirectoryError::InUse(_))) => tokio::task::yield_now().await,
                    other => return other,
                }
            }
        };
        tokio::time::timeout(DEADLINE, opened).await.unwrap()
    }

    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.service = Some(self.reopen().await.unwrap());
    }

    pub(crate) fn channel(&self, caller: Peer) -> RpcChannel {
        RpcChannel::in_process(
            &self.service.as_ref().unwrap().server,
            caller,
            CallPolicy::default(),
        )
    }

    pub(crate) async fn publish(&self, events: Vec<Value>) -> Result<(), Status> {
        let cloudevents_json = events
            .iter()
            .map(|event| Bytes::from(event.to_string()))
            .collect();
        self.publish_raw(cloudevents_json).await
    }

    pub(crate) async fn publish_raw(&self, cloudevents_json: Vec<Bytes>) -> Result<(), Status> {
        let mut client = IngestServiceClient::new(self.channel(Peer::Gateway));
        client
            .publish_events(PublishEventsRequest { cloudevents_json })
            .await
            .map(|_| ())
    }

    pub(crate) async fn list_with(
        &self,
        authorization: Option<&str>,
        request: ListEventsRequest,
    ) -> Result<ListEventsResponse, Status> {
        let mut client = EventQueryServiceClient::new(self.channel(Peer::Gateway))
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let mut request = Request::new(request.clone());
            if let Some(authorization) = authorization {
                request
                    .metadata_mut()
                    .insert("authorization", authorization.parse().unwrap());
            }
            match client.list_events(request).await {
                // Keys come in the background.
                Err(status)
                    if status.message().contains("keys") && tokio::time::Instant::now() < deadline =>
                {
                    tokio::task::yield_now().await;
                }
                other => return other.map(tonic::Response::into_inner),
            }
        }
    }

    pub(crate) async fn list_as(
        &self,
        principal: &Principal,
        request: ListEventsRequest,
    ) -> Result<ListEventsResponse, Status> {
        let authorization = format!("Bearer {}", self.keys.sign_access_token(principal));
        self.list_with(Some(&authorization), request).await
    }

    /// All pages, as `(offset, id)`.
    pub(crate) async fn all_as(
        &self,
        principal: &Principal,
        mut request: ListEventsRequest,
    ) -> Vec<(u64, String)> {
        let mut all = Vec::new();
        loop {
            let page = self.list_as(principal, request.clone()).await.unwrap();
            if request.page_size > 0 {
                assert!(page.events.len() <= request.page_size as usize);
            }
            all.extend(page.events.iter().map(|event| {
                let json: Value = serde_json::from_slice(&event.cloudevent_json).unwrap();
                (event.offset, json["id"].as_str().unwrap().to_owned())
            }));
            if page.next_page_token.is_empty() {
                return all;
            }
            request.page_token = page.next_page_token;
        }
    }

    pub(crate) async fn all(&self) -> Vec<(u64, String)> {
        self.all_as(&reader(), ListEventsRequest::default()).await
    }
}

/// Somebody who may read everything.
pub(crate) fn reader() -> Principal {
    Principal::new("https://issuer.example", "reader")
}

pub(crate) fn event(id: &str, event_type: &str, repository: &str) -> Value {
    json!({
        "specversion": "1.0",
        "id": id,
        "source": "/registry",
        "type": event_type,
        "subject": format!("{repository}:latest"),
        "time": "2027-01-15T08:00:00Z",
        "repository": repository,
        "datacontenttype": "application/json",
        "data": {"repository": repository, "tag": "latest"},
    })
}

/// An audit event about a group or repository.
pub(crate) fn audit_event(id: &str, path: &str) -> Value {
    json!({
        "specversion": "1.0",
        "id": id,
        "source": "/auth",
        "type": "dev.roadstead.iam.binding.created.v1",
        "path": path,
        "data": {},
    })
}

/// Polls until the condition holds.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let polled = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(
        tokio::time::timeout(DEADLINE, polled).await.is_ok(),
        "in vain waited until {what}"
    );
}

#[track_caller]
pub(crate) fn assert_reason<T>(result: Result<T, Status>, expected: ErrorReason) {
    match result {
        Ok(_) => panic!("{expected:?} was expected"),
        Err(status) => assert_eq!(roadstead_rpc::reason(&status), expected, "{status:?}"),
    }
}
