//! `roadstead events`.

use roadstead_proto::events::v1::{
    ListEventsRequest, LoggedEvent, event_query_service_client::EventQueryServiceClient,
};
use roadstead_types::Clock;
use serde::Serialize;
use serde_json::Value;

use crate::{
    args::{EventsList, Output},
    cache::TokenCache,
    error::Error,
    grpc::AdminApi,
    listing::{page_size, print_json, print_table},
    remote,
};

/// What all of the registry's own event types begin with.
const TYPE_PREFIX: &str = "dev.roadstead.registry.";

/// An event of the log as it is printed.
#[derive(Serialize)]
struct Event {
    offset: u64,
    event: Value,
}

pub(crate) async fn list(flags: EventsList, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    let (host, transport) = remote(flags.remote, cache)?;
    let api = AdminApi::connect(cache, clock, &host, &transport).await?;
    let mut client = EventQueryServiceClient::with_origin(api.channel(), api.origin()?);
    let mut request = ListEventsRequest {
        newest_first: flags.newest_first,
        repository: flags.repository.unwrap_or_default(),
        type_prefix: flags.event_type.map(full_type).unwrap_or_default(),
        ..ListEventsRequest::default()
    };
    let mut events = Vec::new();
    while events.len() < flags.limit {
        request.page_size = page_size(flags.limit - events.len());
        let page = client.list_events(request.clone()).await;
        let page = page
            .map_err(|status| api.error("ListEvents", &status))?
            .into_inner();
        for event in page.events {
            events.push(parse(&event)?);
        }
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    events.truncate(flags.limit);
    match flags.output {
        Output::Json => print_json(&events)?,
        Output::Table => print_table(
            ["OFFSET", "TIME", "TYPE", "SUBJECT", "DIGEST", "ACTOR"],
            events.iter().map(|Event { offset, event }| {
                let event_type = text(&event["type"]);
                [
                    offset.to_string(),
                    text(&event["time"]),
                    event_type
                        .strip_prefix(TYPE_PREFIX)
                        .unwrap_or(&event_type)
                        .to_owned(),
                    text(&event["subject"]),
                    text(&event["data"]["digest"]),
                    text(&event["data"]["actor"]["subject"]),
                ]
            }),
        ),
    }
    Ok(())
}

/// `push` is short for the types that begin with it in the registry's own namespace.
fn full_type(event_type: String) -> String {
    if event_type.contains('.') {
        event_type
    } else {
        format!("{TYPE_PREFIX}{event_type}")
    }
}

fn parse(logged: &LoggedEvent) -> Result<Event, Error> {
    let event = serde_json::from_slice(&logged.cloudevent_json)
        .map_err(|error| Error::Internal(format!("event {} is not JSON: {error}", logged.offset)))?;
    Ok(Event {
        offset: logged.offset,
        event,
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
