//! What every request needs.

use std::sync::{Arc, OnceLock};

use axum::response::Response;
use http::header;
use roadstead_authn::Verifier;
use roadstead_proto::{
    auth::v1::{
        authorization_service_client::AuthorizationServiceClient,
        dev_issuer_service_client::DevIssuerServiceClient, key_service_client::KeyServiceClient,
        token_service_client::TokenServiceClient,
    },
    blobs::v1::blob_write_service_client::BlobWriteServiceClient,
    metadata::v1::{
        read_service_client::ReadServiceClient, upload_service_client::UploadServiceClient,
        write_service_client::WriteServiceClient,
    },
};
use roadstead_rpc::{MAX_MESSAGE_BYTES, RpcChannel};
use roadstead_types::Clock;

use crate::{
    Config, address::Addresses, auth, call::Call, dev_secret::DevSecret, error::Failure,
    pull_events::PullEvents, refusals::Refusals,
};

/// Shared by all requests; made once.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) addresses: Addresses,
    pub(crate) verifier: Verifier,
    pub(crate) services: Services,
    /// For the calls that the gateway passes on as they are.
    pub(crate) channels: Channels,
    pub(crate) pull_events: PullEvents,
    pub(crate) refusals: Refusals,
    /// Set when the listener is there, and only with `dev`.
    pub(crate) dev_secret: OnceLock<Arc<DevSecret>>,
}

/// The channels that are used without a generated client: blobs for bytes, the others for administration that passes
/// through the gateway.
pub(crate) struct Channels {
    pub(crate) auth: RpcChannel,
    pub(crate) blobs: RpcChannel,
    pub(crate) metadata: RpcChannel,
    pub(crate) events: RpcChannel,
}

/// The clients. Each call clones the one it needs, which clones a handle.
pub(crate) struct Services {
    pub(crate) tokens: TokenServiceClient<RpcChannel>,
    pub(crate) keys: KeyServiceClient<RpcChannel>,
    pub(crate) authorization: AuthorizationServiceClient<RpcChannel>,
    pub(crate) dev_issuer: DevIssuerServiceClient<RpcChannel>,
    pub(crate) read: ReadServiceClient<RpcChannel>,
    pub(crate) write: WriteServiceClient<RpcChannel>,
    pub(crate) uploads: UploadServiceClient<RpcChannel>,
    pub(crate) blob_write: BlobWriteServiceClient<RpcChannel>,
}

/// Makes a client that takes messages as large as any of ours.
macro_rules! client {
    ($client:ident, $channel:expr) => {
        $client::new($channel.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    };
}

impl Services {
    pub(crate) fn new(auth: &RpcChannel, metadata: &RpcChannel, blobs: &RpcChannel) -> Self {
        Self {
            tokens: client!(TokenServiceClient, auth),
            keys: client!(KeyServiceClient, auth),
            authorization: client!(AuthorizationServiceClient, auth),
            dev_issuer: client!(DevIssuerServiceClient, auth),
            read: client!(ReadServiceClient, metadata),
            write: client!(WriteServiceClient, metadata),
            uploads: client!(UploadServiceClient, metadata),
            blob_write: client!(BlobWriteServiceClient, blobs),
        }
    }
}

impl App {
    /// Renders a failure under `/v2/`, with the challenge that a 401 needs.
    pub(crate) fn render(&self, call: &Call, failure: Failure, scope: impl FnOnce() -> String) -> Response {
        use axum::response::IntoResponse as _;

        let challenge = failure.challenge().map(|(challenge, own_scope)| {
            let scope = own_scope.map_or_else(scope, ToOwned::to_owned);
            auth::challenge(&self.addresses, call, challenge, &scope)
        });
        let mut response = failure.into_response();
        if let Some(challenge) = challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
