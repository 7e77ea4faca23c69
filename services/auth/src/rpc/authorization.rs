use roadstead_authn::Act;
use roadstead_proto::auth::v1::{
    CheckRequest, CheckResponse, ListReadablePrefixesRequest, ListReadablePrefixesResponse,
    authorization_service_server::AuthorizationService,
};
use roadstead_types::{ActionSet, RepositoryName, Scope};
use tonic::{Request, Response, Status};

use super::{Service, State, identity};
use crate::{
    access::{Bearer, decide, reach_of},
    domain::{Capability, Narrowing, Resource},
    error::Error,
    store::{Result, Snapshot},
    tokens::Shown,
};

/// Whoever shows a token of either kind, or none.
struct Shower {
    shown: Option<Shown>,
    narrowing: Narrowing,
}

impl Shower {
    fn bearer(&self) -> Bearer<'_> {
        match &self.shown {
            None => Bearer::anonymous(&self.narrowing),
            Some(shown) => Bearer {
                identities: &shown.provenance().identities,
                act: shown.act(),
                narrowing: &self.narrowing,
            },
        }
    }

    fn act(&self) -> Option<&Act> {
        self.shown.as_ref().and_then(Shown::act)
    }

    fn check_alive(&self, snapshot: &Snapshot<'_>) -> Result<()> {
        let revoked = match &self.shown {
            None => false,
            Some(Shown::Access(claims)) => snapshot.is_origin_revoked(&claims.provenance)?,
            Some(Shown::Registry(claims)) => snapshot.is_registry_token_revoked(claims)?,
        };
        if revoked {
            return Err(Error::TokenInvalid("it was revoked"));
        }
        Ok(())
    }
}

impl State {
    /// Believes a token of either kind; the empty text is an anonymous caller.
    fn shower(&self, token: &str) -> Result<Shower> {
        let shown = match token {
            "" => None,
            token => Some(self.tokens.verify_any(token)?),
        };
        let narrowing = match &shown {
            None => Narrowing::default(),
            Some(shown) => {
                let (resources, capabilities) = shown.narrowing();
                Narrowing::from_token(resources, capabilities)
                    .ok_or(Error::TokenInvalid("what it is narrowed to cannot be read"))?
            }
        };
        Ok(Shower { shown, narrowing })
    }
}

#[tonic::async_trait]
impl AuthorizationService for Service {
    async fn list_readable_prefixes(
        &self,
        request: Request<ListReadablePrefixesRequest>,
    ) -> Result<Response<ListReadablePrefixesResponse>, Status> {
        let shower = self.0.shower(&request.get_ref().token)?;
        let rules = self.0.rules.clone();
        let response = self
            .0
            .store
            .scan("list_readable_prefixes", move |snapshot| {
                shower.check_alive(snapshot)?;
                let capabilities = [Capability::RepoPull, Capability::EventsList];
                let reach = reach_of(snapshot, &rules, &shower.bearer(), &capabilities)?;
                let mut response = ListReadablePrefixesResponse {
                    identity: shower.act().map(|act| identity(&act.issuer, &act.subject)),
                    ..ListReadablePrefixesResponse::default()
                };
                for (resources, (prefixes, repositories)) in reach.into_iter().zip([
                    (&mut response.prefixes, &mut response.repositories),
                    (&mut response.audit_prefixes, &mut response.audit_repositories),
                ]) {
                    for resource in resources {
                        match resource {
                            Resource::Group(path) => prefixes.push(path.to_string()),
                            Resource::Repository(name) => repositories.push(name.to_string()),
                        }
                    }
                }
                Ok(response)
            })
            .await?;
        Ok(Response::new(response))
    }

    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let asked = request.get_ref();
        let name = RepositoryName::parse(&asked.repository)
            .map_err(|error| Error::NameInvalid(error.to_string()))?;
        let shower = self.0.shower(&asked.token)?;
        let scope = Scope::repository(name, ActionSet::ALL);
        let decision = self
            .0
            .store
            .snapshot("check", |snapshot| {
                shower.check_alive(snapshot)?;
                decide(snapshot, &self.0.rules, &shower.bearer(), vec![scope])
            })
            .await?;
        let actions = decision.granted.iter().flat_map(|scope| scope.actions.iter());
        Ok(Response::new(CheckResponse {
            actions: actions.map(|action| action.as_str().to_owned()).collect(),
        }))
    }
}
