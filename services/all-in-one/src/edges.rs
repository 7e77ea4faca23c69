//! The channels between the services.

use std::fmt;
use std::sync::Arc;

use roadstead_rpc::{CallPolicy, Peer, RpcChannel, RpcServer};

type Connect = dyn Fn(Peer, &RpcServer) -> RpcChannel + Send + Sync;

/// Makes the channel by which a caller reaches a server. The default is the only one outside of tests, which put faults
/// between the services here.
#[derive(Clone)]
pub struct Edges(Arc<Connect>);

impl Edges {
    /// Makes channels with `connect`, which is given who calls and who is called.
    pub fn new(connect: impl Fn(Peer, &RpcServer) -> RpcChannel + Send + Sync + 'static) -> Self {
        Self(Arc::new(connect))
    }

    pub(crate) fn connect(&self, caller: Peer, server: &RpcServer) -> RpcChannel {
        (self.0)(caller, server)
    }
}

impl Default for Edges {
    fn default() -> Self {
        Self::new(|caller, server| RpcChannel::in_process(server, caller, CallPolicy::default()))
    }
}

impl fmt::Debug for Edges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Edges")
    }
}
