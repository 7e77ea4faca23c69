//! Who calls whom.

use std::{collections::HashMap, fmt};

/// A process that takes part in Roadstead's RPCs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// Renders HTTP.
    Gateway,
    /// Issues tokens.
    Auth,
    /// Keeps repositories.
    Metadata,
    /// Keeps bytes.
    Blobs,
    /// Keeps the event log.
    Events,
    /// A person with the operator's certificate.
    Operator,
}

impl Peer {
    pub(crate) const EACH: [Self; 6] = [
        Self::Gateway,
        Self::Auth,
        Self::Metadata,
        Self::Blobs,
        Self::Events,
        Self::Operator,
    ];

    /// The DNS name in the peer's certificate. It identifies; it is never resolved.
    pub const fn dns_name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway.roadstead.internal",
            Self::Auth => "auth.roadstead.internal",
            Self::Metadata => "metadata.roadstead.internal",
            Self::Blobs => "blobs.roadstead.internal",
            Self::Events => "events.roadstead.internal",
            Self::Operator => "operator.roadstead.internal",
        }
    }

    /// The peer with this DNS name.
    pub fn from_dns_name(name: &str) -> Option<Self> {
        Self::EACH.into_iter().find(|peer| peer.dns_name() == name)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Auth => "auth",
            Self::Metadata => "metadata",
            Self::Blobs => "blobs",
            Self::Events => "events",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which peers may call which gRPC service. What is not listed is refused; health and reflection are open to every
/// known peer.
#[derive(Clone, Debug, Default)]
pub struct AllowList {
    services: HashMap<String, Vec<Peer>>,
}

impl AllowList {
    /// Makes a list that allows nobody anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets peers call every RPC of a service, which is named in full: `roadstead.metadata.v1.ReadService`.
    #[must_use]
    pub fn allow(mut self, service: impl Into<String>, peers: &[Peer]) -> Self {
        self.services
            .entry(service.into())
            .or_default()
            .extend_from_slice(peers);
        self
    }

    pub(crate) fn allows(&self, service: &str, peer: Peer) -> bool {
        self.services
            .get(service)
            .is_some_and(|peers| peers.contains(&peer))
    }
}
