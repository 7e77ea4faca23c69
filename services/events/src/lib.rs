//! The event log: drains the outboxes, takes the pulls that gateways saw, and lists what happened.
//!
//! `events` owns the log and nothing else. It never decides what happened: an event is the business of the service that
//! wrote it into its outbox in the transaction of the change itself. It calls metadata (its outbox) and auth (its outbox, keys,
//! and what a caller may read), and nothing waits for it: while it is down, outboxes grow.
//!
//! What always holds:
//!
//! - An event is in the log once, however often it is delivered, as long as the log keeps it.
//! - An outbox is told to forget an event only after the log holds it durably.
//! - Offsets follow the order of commits and have no gaps; whoever read up to one misses nothing before it.
//! - A listing shows only events of repositories that the caller was granted to pull from. That anyone may pull from a
//!   public repository opens its content, not its log: who pulled, from which address and with what, is its members' own.
//! - An audit event (one with the attribute `path`: who was given or refused what) is shown only to those who may read audit
//!   events at its path. To pull there is not enough.

mod cloudevent;
mod config;
mod drain;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod outbox;
mod page_token;
mod retention;
mod rpc;
mod store;

use std::path::PathBuf;

use roadstead_authn::Verifier;
use roadstead_proto::{
    auth::v1::authorization_service_client::AuthorizationServiceClient,
    events::v1::{
        event_query_service_server::EventQueryServiceServer, ingest_service_server::IngestServiceServer,
    },
};
use roadstead_rpc::{AllowList, MAX_MESSAGE_BYTES, Peer, Readiness, RpcChannel, RpcServer, TaskSet};
use roadstead_runtime::BuiltService;
pub use roadstead_sqlite::OpenError;
use roadstead_types::Clock;
use tokio_util::sync::CancellationToken;

pub use crate::config::Config;
use crate::{
    drain::Drain,
    outbox::Outbox,
    retention::Retention,
    rpc::{EventQuery, Ingest},
    store::EventLog,
};

/// What events is given by whoever wires it up.
pub struct Deps {
    /// Stamps what is stored.
    pub clock: Clock,
    /// `runtime.data_dir`; the log is in its `events`.
    pub data_dir: PathBuf,
    /// To auth: its outbox, keys, and what a caller may read.
    pub auth: RpcChannel,
    /// To metadata: its outbox.
    pub metadata: RpcChannel,
    /// Cancelled when the process is to end.
    pub shutdown: CancellationToken,
}

/// Opens the log, starts to drain, and builds the service.
///
/// # Errors
///
/// [`OpenError::Directory`] when another process uses the directory, [`OpenError::SchemaTooNew`] when the log was written by
/// a program that this one is too old for.
pub async fn build(config: Config, deps: Deps) -> Result<BuiltService, OpenError> {
    let Deps {
        clock,
        data_dir,
        auth,
        metadata,
        shutdown,
    } = deps;
    let directory = data_dir.join("events");
    let time = clock.clone();
    let log = match tokio::task::spawn_blocking(move || EventLog::open(&directory, time)).await {
        Ok(opened) => opened?,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    };
    let tasks = TaskSet::new(shutdown);
    for (task, outbox) in [
        ("events-drain-metadata", Outbox::of_metadata(metadata)),
        ("events-drain-auth", Outbox::of_auth(auth.clone())),
    ] {
        let drain = Drain::new(
            outbox,
            log.clone(),
            clock.clone(),
            config.drain_interval,
            config.drain_batch,
        );
        tasks.spawn(task, drain.run(tasks.token().clone()));
    }
    let retention = Retention {
        log: log.clone(),
        clock: clock.clone(),
        keep: config.retention,
        interval: config.prune_interval,
    };
    tasks.spawn("events-retention", retention.run(tasks.token().clone()));
    let query = EventQuery {
        log: log.clone(),
        verifier: Verifier::new(auth.clone(), clock.clone(), &tasks),
        authorization: AuthorizationServiceClient::new(auth)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES),
    };
    let readiness = Readiness::new();
    readiness.set_ready();
    let server = RpcServer::new(Peer::Events, allow_list())
        .with_readiness(readiness.clone())
        .add_service(
            IngestServiceServer::new(Ingest { log, clock })
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_service(
            EventQueryServiceServer::new(query)
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        );
    Ok(BuiltService {
        server,
        tasks,
        readiness,
    })
}

fn allow_list() -> AllowList {
    AllowList::new()
        .allow("roadstead.events.v1.IngestService", &[Peer::Gateway])
        .allow("roadstead.events.v1.EventQueryService", &[Peer::Gateway])
}
