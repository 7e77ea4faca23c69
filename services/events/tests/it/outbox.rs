//! An outbox that can be switched off, that can fail after the fact, and that looks into the log when told to forget.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use roadstead_proto::{
    auth::v1::{
        self as auth,
        outbox_service_server::{
            OutboxService as AuthOutboxService, OutboxServiceServer as AuthOutboxServer,
        },
    },
    metadata::v1::{
        self as metadata,
        outbox_service_server::{OutboxService as MetadataOutboxService, OutboxServiceServer},
    },
};
use roadstead_rpc::{AllowList, CallPolicy, ErrorReason, Peer, RpcChannel, RpcServer, status};
use roadstead_testkit::TestAuthority;
use rusqlite::Connection;
use tonic::{Code, Request, Response, Status, async_trait};

#[derive(Clone, Default)]
pub(crate) struct Outbox(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    next: u64,
    /// Ids and contents.
    waiting: BTreeMap<u64, (String, Bytes)>,
    down: bool,
    claims: usize,
    /// So many acknowledgements are taken for lost.
    lose_acks: usize,
    database: PathBuf,
    /// Ids that were acknowledged before the log held them.
    early: Vec<String>,
}

impl Outbox {
    pub(crate) fn push(&self, id: &str, json: impl Into<Bytes>) {
        let mut state = self.0.lock().unwrap();
        let next = state.next;
        state.next += 1;
        state.waiting.insert(next, (id.to_owned(), json.into()));
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.0.lock().unwrap().down = down;
    }

    pub(crate) fn lose_acks(&self, count: usize) {
        self.0.lock().unwrap().lose_acks = count;
    }

    pub(crate) fn watch(&self, database: PathBuf) {
        self.0.lock().unwrap().database = database;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().unwrap().waiting.is_empty()
    }

    pub(crate) fn claims(&self) -> usize {
        self.0.lock().unwrap().claims
    }

    pub(crate) fn acknowledged_early(&self) -> Vec<String> {
        self.0.lock().unwrap().early.clone()
    }

    /// Of metadata.
    pub(crate) fn channel(&self) -> RpcChannel {
        let allowed = AllowList::new().allow("roadstead.metadata.v1.OutboxService", &[Peer::Events]);
        let server =
            RpcServer::new(Peer::Metadata, allowed).add_service(OutboxServiceServer::new(self.clone()));
        RpcChannel::in_process(&server, Peer::Events, CallPolicy::default())
    }

    /// Of auth, beside what else auth offers.
    pub(crate) fn channel_with(&self, authority: &TestAuthority) -> RpcChannel {
        let server = authority
            .server()
            .add_service(AuthOutboxServer::new(self.clone()));
        RpcChannel::in_process(&server, Peer::Events, CallPolicy::default())
    }

    fn claim(&self, max_events: u32) -> Result<Vec<(String, Bytes)>, Status> {
        let mut state = self.0.lock().unwrap();
        state.claims += 1;
        state.check_up()?;
        // Without leases: what is not acknowledged is delivered again at once.
        Ok(state
            .waiting
            .values()
            .take(max_events as usize)
            .cloned()
            .collect())
    }

    fn acknowledge(&self, ids: &[String]) -> Result<(), Status> {
        let mut state = self.0.lock().unwrap();
        state.check_up()?;
        let log = Connection::open(&state.database).unwrap();
        for id in ids {
            let held: bool = log
                .query_row(
                    "SELECT EXISTS (SELECT 1 FROM event WHERE id = ?1)
                     OR EXISTS (SELECT 1 FROM rejected_event WHERE id = ?1)",
                    [id],
                    |row| row.get(0),
                )
                .unwrap();
            if !held {
                state.early.push(id.clone());
            }
        }
        if state.lose_acks > 0 {
            state.lose_acks -= 1;
            return Err(status(
                Code::Unavailable,
                ErrorReason::Unavailable,
                "lost by the test",
            ));
        }
        state.waiting.retain(|_, (id, _)| !ids.contains(id));
        Ok(())
    }
}

impl State {
    fn check_up(&self) -> Result<(), Status> {
        if self.down {
            return Err(status(
                Code::Unavailable,
                ErrorReason::Unavailable,
                "switched off by the test",
            ));
        }
        Ok(())
    }
}

/// The two contracts are alike, and the test's outbox keeps either.
macro_rules! keeps {
    ($service:ident, $messages:ident) => {
        #[async_trait]
        impl $service for Outbox {
            async fn claim_events(
                &self,
                request: Request<$messages::ClaimEventsRequest>,
            ) -> Result<Response<$messages::ClaimEventsResponse>, Status> {
                let events = self
                    .claim(request.get_ref().max_events)?
                    .into_iter()
                    .map(|(id, cloudevent_json)| $messages::OutboxEvent {
                        id,
                        cloudevent_json,
                    })
                    .collect();
                Ok(Response::new($messages::ClaimEventsResponse { events }))
            }

            async fn ack_events(
                &self,
                request: Request<$messages::AckEventsRequest>,
            ) -> Result<Response<$messages::AckEventsResponse>, Status> {
                self.acknowledge(&request.get_ref().ids)?;
                Ok(Response::new($messages::AckEventsResponse {}))
            }
        }
    };
}

keeps!(MetadataOutboxService, metadata);
keeps!(AuthOutboxService, auth);
