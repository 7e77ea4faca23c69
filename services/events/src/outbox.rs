//! The outboxes of the services that announce events. Their contracts are alike, but their messages are types of their own.

use bytes::Bytes;
use roadstead_proto::{
    auth::v1::{self as auth, outbox_service_client::OutboxServiceClient as AuthClient},
    metadata::v1::{self as metadata, outbox_service_client::OutboxServiceClient as MetadataClient},
};
use roadstead_rpc::{MAX_MESSAGE_BYTES, RpcChannel};
use tonic::Status;

use crate::cloudevent::CloudEvent;

/// An outbox, by the service that keeps it.
pub(crate) enum Outbox {
    Metadata(MetadataClient<RpcChannel>),
    Auth(AuthClient<RpcChannel>),
}

/// What an outbox hands over.
#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) id: String,
    pub(crate) cloudevent_json: Bytes,
}

impl Outbox {
    pub(crate) fn of_metadata(channel: RpcChannel) -> Self {
        let client = MetadataClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self::Metadata(client)
    }

    pub(crate) fn of_auth(channel: RpcChannel) -> Self {
        let client = AuthClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self::Auth(client)
    }

    /// The service that keeps it.
    pub(crate) fn keeper(&self) -> &'static str {
        match self {
            Self::Metadata(_) => "metadata",
            Self::Auth(_) => "auth",
        }
    }

    /// Leases events, at most `max_events`.
    pub(crate) async fn claim(&mut self, max_events: u32) -> Result<Vec<Handed>, Status> {
        Ok(match self {
            Self::Metadata(client) => {
                let request = metadata::ClaimEventsRequest { max_events };
                let events = client.claim_events(request).await?.into_inner().events;
                let hand = |event: metadata::OutboxEvent| Handed {
                    id: event.id,
                    cloudevent_json: event.cloudevent_json,
                };
                events.into_iter().map(hand).collect()
            }
            Self::Auth(client) => {
                let request = auth::ClaimEventsRequest { max_events };
                let events = client.claim_events(request).await?.into_inner().events;
                let hand = |event: auth::OutboxEvent| Handed {
                    id: event.id,
                    cloudevent_json: event.cloudevent_json,
                };
                events.into_iter().map(hand).collect()
            }
        })
    }

    /// Tells the outbox to forget events.
    pub(crate) async fn acknowledge(&mut self, ids: Vec<String>) -> Result<(), Status> {
        match self {
            Self::Metadata(client) => {
                client.ack_events(metadata::AckEventsRequest { ids }).await?;
            }
            Self::Auth(client) => {
                client.ack_events(auth::AckEventsRequest { ids }).await?;
            }
        }
        Ok(())
    }

    /// Why an event cannot have come from this outbox.
    pub(crate) fn objection(&self, event: &CloudEvent) -> Option<&'static str> {
        match self {
            // What nobody placed would be shown to nobody or to everybody.
            Self::Auth(_) if event.path.is_none() => {
                Some("an event of auth says with `path` what it is about")
            }
            Self::Auth(_) | Self::Metadata(_) => None,
        }
    }
}
