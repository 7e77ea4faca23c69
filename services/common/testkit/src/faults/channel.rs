//! The layer of a channel.

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use http_body_util::BodyExt as _;
use roadstead_rpc::{BoxRpcService, ErrorReason};
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

use super::{RpcFault, RpcFaults, body::Breaking};

type Response = http::Response<Body>;

/// The only method whose caller has to see answers before it has sent everything.
const BIDIRECTIONAL: &str = "/Append";

/// What a broken connection is to a caller. The text must reach nobody outside.
pub(super) fn broken() -> Status {
    let text = "fault injected between the services";
    roadstead_rpc::status(Code::Unavailable, ErrorReason::Unavailable, text)
}

impl Layer<BoxRpcService> for RpcFaults {
    type Service = FaultyChannel;

    fn layer(&self, inner: BoxRpcService) -> FaultyChannel {
        FaultyChannel {
            inner,
            faults: self.clone(),
        }
    }
}

/// A channel that [`RpcFaults`] strike.
#[derive(Clone, Debug)]
pub struct FaultyChannel {
    inner: BoxRpcService,
    faults: RpcFaults,
}

impl Service<http::Request<Body>> for FaultyChannel {
    type Response = Response;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Status>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let next = self.inner.clone();
        // The one that was asked whether it is ready is the one that is called.
        let inner = mem::replace(&mut self.inner, next);
        let fault = self.faults.strike(request.uri().path());
        Box::pin(suffer(inner, request, fault, self.faults.clone()))
    }
}

async fn suffer(
    mut inner: BoxRpcService,
    request: http::Request<Body>,
    fault: Option<RpcFault>,
    faults: RpcFaults,
) -> Result<Response, Status> {
    let path = request.uri().path().to_owned();
    let request = match fault {
        Some(RpcFault::Down) => return Err(broken()),
        Some(RpcFault::Slow(wait)) => {
            tokio::time::sleep(wait).await;
            request
        }
        Some(RpcFault::RequestReset(messages)) => {
            request.map(|body| Body::new(Breaking::after(messages, body)))
        }
        _ => request,
    };
    faults.arrived(&path);
    let response = inner.call(request).await;
    match fault {
        Some(RpcFault::SlowAnswer(wait)) => {
            tokio::time::sleep(wait).await;
            response
        }
        Some(RpcFault::AnswerLost) if path.ends_with(BIDIRECTIONAL) => {
            response.map(|response| response.map(|body| Body::new(Breaking::at_the_end(body))))
        }
        Some(RpcFault::AnswerLost) => {
            // Whether it was an error makes no difference to who does not hear it.
            if let Ok(response) = response {
                let _ = response.into_body().collect().await;
            }
            Err(broken())
        }
        Some(RpcFault::ResponseReset(messages)) => {
            response.map(|response| response.map(|body| Body::new(Breaking::after(messages, body))))
        }
        Some(RpcFault::ResponseSilent(messages)) => {
            response.map(|response| response.map(|body| Body::new(Breaking::silent_after(messages, body))))
        }
        _ => response,
    }
}
