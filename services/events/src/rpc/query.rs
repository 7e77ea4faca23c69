use roadstead_authn::Verifier;
use roadstead_proto::{
    auth::v1::{ListReadablePrefixesRequest, authorization_service_client::AuthorizationServiceClient},
    events::v1::{
        ListEventsRequest, ListEventsResponse, LoggedEvent, event_query_service_server::EventQueryService,
    },
};
use roadstead_rpc::RpcChannel;
use roadstead_types::{RepositoryName, RepositorySet};
use tonic::{Request, Response, Status, async_trait, metadata::MetadataMap};

use crate::{
    error::Error,
    page_token,
    store::{Entry, EventLog, Query, Sight},
};

const DEFAULT_PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 1_000;

pub(crate) struct EventQuery {
    pub(crate) log: EventLog,
    pub(crate) verifier: Verifier,
    pub(crate) authorization: AuthorizationServiceClient<RpcChannel>,
}

#[async_trait]
impl EventQueryService for EventQuery {
    async fn list_events(
        &self,
        request: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        let token = bearer(request.metadata())?.to_owned();
        // Here first: a token that is no good costs auth nothing.
        self.verifier.access(&token).map_err(Error::from)?;
        let request = request.into_inner();
        let mut query = parse(&request)?;
        query.sight = self.sight(token).await?;
        let page = self.log.list(query).await.map_err(Error::from)?;
        let next_page_token = page
            .next_after
            .map(|after| page_token::encode(&request, after))
            .unwrap_or_default();
        let events = page.entries.into_iter().map(encode).collect();
        Ok(Response::new(ListEventsResponse {
            events,
            next_page_token,
        }))
    }
}

impl EventQuery {
    async fn sight(&self, token: String) -> Result<Sight, Error> {
        let mut authorization = self.authorization.clone();
        let answer = authorization
            .list_readable_prefixes(ListReadablePrefixesRequest { token })
            .await;
        let seen = answer.map_err(Error::Auth)?.into_inner();
        Ok(Sight {
            readable: RepositorySet::from_texts(&seen.prefixes, &seen.repositories),
            audited: RepositorySet::from_texts(&seen.audit_prefixes, &seen.audit_repositories),
        })
    }
}

fn bearer(metadata: &MetadataMap) -> Result<&str, Error> {
    let value = metadata
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .ok_or(Error::TokenMissing)?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => {
            Ok(token.trim())
        }
        _ => Err(Error::TokenMissing),
    }
}

fn parse(request: &ListEventsRequest) -> Result<Query, Error> {
    let repository = match request.repository.as_str() {
        "" => None,
        name => Some(RepositoryName::parse(name).map_err(|error| Error::Argument(error.to_string()))?),
    };
    let limit = match request.page_size {
        0 => DEFAULT_PAGE,
        size => size.min(LARGEST_PAGE),
    };
    Ok(Query {
        after: page_token::decode(request)?,
        newest_first: request.newest_first,
        limit: limit as usize,
        repository,
        type_prefix: request.type_prefix.clone(),
        sight: Sight::default(),
    })
}

fn encode(entry: Entry) -> LoggedEvent {
    LoggedEvent {
        offset: u64::try_from(entry.offset).unwrap_or_default(),
        cloudevent_json: entry.cloudevent.into(),
    }
}
