use roadstead_proto::auth::v1::{
    AckEventsRequest, AckEventsResponse, ClaimEventsRequest, ClaimEventsResponse, OutboxEvent,
    outbox_service_server::OutboxService,
};
use tonic::{Request, Response, Status};

use super::Service;

/// Bounds the answer: an event is about a kilobyte.
const MAX_EVENTS: u32 = 1000;

#[tonic::async_trait]
impl OutboxService for Service {
    async fn claim_events(
        &self,
        request: Request<ClaimEventsRequest>,
    ) -> Result<Response<ClaimEventsResponse>, Status> {
        let limit = request.into_inner().max_events.min(MAX_EVENTS);
        let claimed = self.0.store.claim_events(limit).await?;
        let events = claimed
            .into_iter()
            .map(|event| OutboxEvent {
                id: event.id,
                cloudevent_json: event.json.into(),
            })
            .collect();
        Ok(Response::new(ClaimEventsResponse { events }))
    }

    async fn ack_events(
        &self,
        request: Request<AckEventsRequest>,
    ) -> Result<Response<AckEventsResponse>, Status> {
        self.0.store.ack_events(request.into_inner().ids).await?;
        Ok(Response::new(AckEventsResponse {}))
    }
}
