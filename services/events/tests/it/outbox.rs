//! An outbox that can be switched off, that can fail after the fact, and that looks into the log when told to forget.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use roadstead_proto::metadata::v1::{
    AckEventsRequest, AckEventsResponse, ClaimEventsRequest, ClaimEventsResponse, OutboxEvent,
    outbox_service_server::{OutboxService, OutboxServiceServer},
};
use roadstead_rpc::{AllowList, CallPolicy, ErrorReason, Peer, RpcChannel, RpcServer, status};
use rusqlite::Connection;
use tonic::{Code, Request, Response, Status, async_trait};

#[derive(Clone, Default)]
pub(crate) struct Outbox(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    next: u64,
    waiting: BTreeMap<u64, OutboxEvent>,
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
        state.waiting.insert(
            next,
            OutboxEvent {
                id: id.to_owned(),
                cloudevent_json: json.into(),
            },
        );
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

    pub(crate) fn channel(&self) -> RpcChannel {
        let allowed = AllowList::new().allow("roadstead.metadata.v1.OutboxService", &[Peer::Events]);
        let server =
            RpcServer::new(Peer::Metadata, allowed).add_service(OutboxServiceServer::new(self.clone()));
        RpcChannel::in_process(&server, Peer::Events, CallPolicy::default())
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

#[async_trait]
impl OutboxService for Outbox {
    async fn claim_events(
        &self,
        request: Request<ClaimEventsRequest>,
    ) -> Result<Response<ClaimEventsResponse>, Status> {
        let mut state = self.0.lock().unwrap();
        state.claims += 1;
        state.check_up()?;
        let limit = request.get_ref().max_events as usize;
        // Without leases: what is not acknowledged is delivered again at once.
        Ok(Response::new(ClaimEventsResponse {
            events: state.waiting.values().take(limit).cloned().collect(),
        }))
    }

    async fn ack_events(
        &self,
        request: Request<AckEventsRequest>,
    ) -> Result<Response<AckEventsResponse>, Status> {
        let mut state = self.0.lock().unwrap();
        state.check_up()?;
        let log = Connection::open(&state.database).unwrap();
        for id in &request.get_ref().ids {
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
        let ids = &request.get_ref().ids;
        state.waiting.retain(|_, event| !ids.contains(&event.id));
        Ok(Response::new(AckEventsResponse {}))
    }
}
