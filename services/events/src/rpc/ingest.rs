use roadstead_proto::events::v1::{
    PublishEventsRequest, PublishEventsResponse, ingest_service_server::IngestService,
};
use roadstead_types::Clock;
use tonic::{Request, Response, Status, async_trait};

use crate::{
    cloudevent::CloudEvent,
    error::Error,
    store::{Batch, EventLog},
};

const EVENTS_LIMIT: usize = 1_000;

/// What a gateway may tell: what it alone sees. All other events come from the outbox of the service that did it, so that a
/// broken gateway cannot make up a push in another's name.
const PULLS: &str = "dev.roadstead.registry.pull.";
const REFUSALS: &str = "dev.roadstead.registry.refusal.";

pub(crate) struct Ingest {
    pub(crate) log: EventLog,
    pub(crate) clock: Clock,
}

#[async_trait]
impl IngestService for Ingest {
    async fn publish_events(
        &self,
        request: Request<PublishEventsRequest>,
    ) -> Result<Response<PublishEventsResponse>, Status> {
        let events = parse(request.into_inner())?;
        let new = self
            .log
            .append(Batch {
                events,
                rejected: Vec::new(),
                now: self.clock.unix_millis(),
            })
            .await
            .map_err(Error::from)?;
        metrics::counter!("events_logged_total").increment(new as u64);
        Ok(Response::new(PublishEventsResponse {}))
    }
}

fn parse(request: PublishEventsRequest) -> Result<Vec<CloudEvent>, Error> {
    let count = request.cloudevents_json.len();
    if count > EVENTS_LIMIT {
        return Err(Error::Argument(format!(
            "{count} events at once, but at most {EVENTS_LIMIT} are taken"
        )));
    }
    let parse = |(index, json)| {
        let event = CloudEvent::parse(json)?;
        let is_refusal = event.r#type.starts_with(REFUSALS);
        if !is_refusal && !event.r#type.starts_with(PULLS) {
            return Err(format!(
                "event {index} is of type {}, which does not come this way",
                event.r#type
            ));
        }
        // Who was refused is for those who audit; who pulled, for those who may.
        if is_refusal != event.path.is_some() {
            return Err(format!(
                "event {index}: `path` goes with refusals and with nothing else"
            ));
        }
        Ok(event)
    };
    request
        .cloudevents_json
        .into_iter()
        .enumerate()
        .map(parse)
        .collect::<Result<_, _>>()
        .map_err(Error::Argument)
}
