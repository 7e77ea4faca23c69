//! What passes through the layers of both stacks.

use std::{future::Future, pin::Pin};

use tokio::time::Instant;
use tonic::{Status, body::Body};

use crate::{Peer, method::Method};

pub(crate) type Response = http::Response<Body>;
pub(crate) type Outcome = Result<Response, Status>;
pub(crate) type OutcomeFuture = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A request with what the layers know about it.
///
/// They could also put it into the request's extensions, but those cost allocations, and in-process they would leak
/// into the other service.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: &'static Method,
    /// Who calls, on the server's side.
    pub(crate) peer: Option<Peer>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) request: http::Request<Body>,
}

impl Call {
    pub(crate) fn new(request: http::Request<Body>) -> Self {
        Self {
            method: Method::of(request.uri().path()),
            peer: None,
            deadline: None,
            request,
        }
    }
}
