//! Who writes.

use roadstead_types::Principal;
use uuid::Uuid;

/// The verified author of a write, with what history and events say about the request.
#[derive(Debug, Clone)]
pub(crate) struct Author {
    pub(crate) principal: Principal,
    /// SHA-256 of the registry token; what push grants are kept under.
    pub(crate) token_hash: [u8; 32],
    /// The token is good but expired: only a live push grant admits it.
    pub(crate) expired: bool,
    pub(crate) request: RequestInfo,
}

/// What the gateway says about the request. It explains, it never authorises.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestInfo {
    pub(crate) request_id: String,
    pub(crate) client_address: String,
    pub(crate) user_agent: String,
    /// The W3C `traceparent` of the RPC, so that the event's delivery joins the request's trace.
    pub(crate) trace_parent: Option<String>,
    /// The same for every attempt of one operation.
    pub(crate) operation: Option<Uuid>,
}
