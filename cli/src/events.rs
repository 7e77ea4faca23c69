//! `roadstead events`.

use roadstead_proto::events::v1::{
    ListEventsRequest, LoggedEvent, event_query_service_client::EventQueryServiceClient,
};
use roadstead_types::Clock;
use serde_json::{Value, json};

use crate::{
    args::EventsList,
    cache::TokenCache,
    error::Error,
    grpc::AdminApi,
    listing::{Shown, pages, print_all},
};

/// What the types of all events begin with.
const NAMESPACE: &str = "dev.roadstead.";
/// And those about content.
const CONTENT: &str = "registry.";

/// An event of the log as it is printed.
struct Event {
    offset: u64,
    event: Value,
}

impl Shown for Event {
    const COLUMNS: &'static [&'static str] = &["OFFSET", "TIME", "TYPE", "SUBJECT", "DIGEST", "ACTOR"];

    fn cells(&self) -> Vec<String> {
        let event = &self.event;
        let full_type = text(&event["type"]);
        let short = full_type.strip_prefix(NAMESPACE).unwrap_or(full_type);
        vec![
            self.offset.to_string(),
            text(&event["time"]).to_owned(),
            short.strip_prefix(CONTENT).unwrap_or(short).to_owned(),
            text(&event["subject"]).to_owned(),
            text(&event["data"]["digest"]).to_owned(),
            text(&event["data"]["actor"]["subject"]).to_owned(),
        ]
    }

    fn json(&self) -> Value {
        json!({ "offset": self.offset, "event": self.event })
    }
}

pub(crate) async fn list(flags: EventsList, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    let api = AdminApi::open(flags.remote, cache, clock).await?;
    let mut client = EventQueryServiceClient::with_origin(api.channel(), api.origin());
    let repository = flags.repository.unwrap_or_default();
    let type_prefix = flags.event_type.as_deref().map(full_type).unwrap_or_default();
    let events = pages(flags.limit, async |page_size, page_token| {
        let request = ListEventsRequest {
            page_size,
            page_token,
            newest_first: flags.newest_first,
            repository: repository.clone(),
            type_prefix: type_prefix.clone(),
        };
        let page = api.answer("ListEvents", client.list_events(request).await)?;
        let events: Result<Vec<Event>, Error> = page.events.iter().map(parse).collect();
        Ok((events?, page.next_page_token))
    });
    print_all(flags.output, &events.await?)
}

/// `push` is short for the types that begin with it in the registry's own namespace, as are the names of audit events.
fn full_type(event_type: &str) -> String {
    let first = event_type.split('.').next().unwrap_or_default();
    match first {
        "exchange" => format!("{NAMESPACE}auth.{event_type}"),
        "auth" | "iam" | "registry" => format!("{NAMESPACE}{event_type}"),
        _ if event_type == first => format!("{NAMESPACE}{CONTENT}{event_type}"),
        _ => event_type.to_owned(),
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

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::full_type;

    #[test]
    fn short_types_are_of_the_registrys_own_namespace() {
        for (short, full) in [
            ("push", "dev.roadstead.registry.push"),
            ("refusal", "dev.roadstead.registry.refusal"),
            ("exchange", "dev.roadstead.auth.exchange"),
            ("auth.refusal", "dev.roadstead.auth.refusal"),
            ("iam", "dev.roadstead.iam"),
            ("iam.binding", "dev.roadstead.iam.binding"),
            ("dev.roadstead.registry.push.v1", "dev.roadstead.registry.push.v1"),
            ("com.example", "com.example"),
        ] {
            assert_eq!(full_type(short), full);
        }
    }
}
