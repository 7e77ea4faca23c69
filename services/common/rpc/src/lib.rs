//! How Roadstead's services call each other.
//!
//! Callers hold tonic's generated clients over an [`RpcChannel`]. It leads either over mutual TLS to another process or
//! straight to an [`RpcServer`] in this one; the caller cannot tell which, because one stack of layers serves both and
//! the in-process adapter restores what only the wire would give (see [`RpcChannel`]).
//!
//! The two RPCs that carry blobs pass their bytes without copying them (see [`bulk`]); over the wire and for the layers
//! they are RPCs like all others.
//!
//! The crate also holds what every service needs around its RPCs: errors with reasons ([`status`]), values that a
//! stranger may carry but not read or change ([`SealKey`]), owned background tasks ([`TaskSet`]), RPC bodies that must
//! not be cut in half ([`run_to_completion`]) and [`Readiness`].
//!
//! Invariants:
//!
//! - Who calls is known from the client's certificate or from the wiring, never from metadata.
//! - Nothing may be called by a peer that an [`AllowList`] does not name.
//! - A retry happens in one place, only for RPCs that the contract marks idempotent, and within the caller's deadline.

mod body;
pub mod bulk;
mod call;
mod client;
mod deadline;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod instrument;
mod method;
mod peer;
mod readiness;
mod seal;
mod server;
mod tasks;
mod tls;

pub use client::{BoxRpcService, CallPolicy, Endpoint, RpcChannel};
pub use error::{
    ERROR_DOMAIN, ErrorReason, RpcError, detail, reason, retry_after, status, status_with, with_retry_after,
};
pub use instrument::LOG_CONTEXT;
pub use peer::{AllowList, Peer};
pub use readiness::Readiness;
pub use seal::{SealError, SealKey, SealKeyError};
pub use server::RpcServer;
pub use tasks::{TaskSet, run_to_completion};
pub use tls::{TlsConfig, TlsIdentity};

/// The largest message, either way. Every generated server and client is set to it, because tonic's own default differs
/// between the two directions.
pub const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;
