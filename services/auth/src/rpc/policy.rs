use roadstead_authn::Act;
use roadstead_proto::auth::v1::{
    ExplainRequest, ExplainResponse, TestClaimsRequest, TestClaimsResponse, WhoAmIRequest, WhoAmIResponse,
    policy_service_server::PolicyService,
};
use roadstead_types::{Action, RepositoryName};
use tonic::{Request, Response, Status};

use super::{Service, encode, identity};
use crate::{
    access,
    domain::{ANONYMOUS, Capability, Claims},
    error::Error,
    iam::explain::{self, Asked, Explained, Whom, parse_claims},
    store::Result,
};

/// Bindings that somebody is told of themselves.
const OWN_BINDINGS: usize = 1000;

/// Reads `push`, or `repo.push`.
fn parse_action(text: &str) -> Result<Capability> {
    let action = text.parse::<Action>().map(Capability::of).ok();
    action
        .or_else(|| Capability::parse(text))
        .ok_or_else(|| Error::argument(format!("{text:?} is neither an action nor a capability")))
}

fn parse_asked(repository: &str, action: &str, claims: Claims) -> Result<Asked> {
    Ok(Asked {
        repository: RepositoryName::parse(repository)
            .map_err(|error| Error::NameInvalid(error.to_string()))?,
        capability: parse_action(action)?,
        claims,
    })
}

fn encoded(
    (explanation, identities): Explained,
    (capability, repository): (Capability, &str),
) -> roadstead_proto::auth::v1::Explanation {
    encode::explanation(
        explanation,
        identities.iter().map(encode::summary).collect(),
        (capability.as_str(), repository),
    )
}

/// Who the claims are of, as a token of ours would say it.
fn act_of(mut claims: Claims) -> Result<Act> {
    let mut text = |name: &str| match claims.remove(name) {
        Some(serde_json::Value::String(text)) if !text.is_empty() => Ok(text),
        _ => Err(Error::argument(format!("the claims have no {name}"))),
    };
    Ok(Act {
        issuer: text("iss")?,
        subject: text("sub")?,
        claims,
    })
}

#[tonic::async_trait]
impl PolicyService for Service {
    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let asked = request.get_ref();
        let repository = asked.repository.clone();
        let whom = match asked.identity.as_str() {
            "" => Whom::Caller,
            ANONYMOUS => Whom::Anonymous,
            reference => Whom::Identity(reference.to_owned()),
        };
        let asked = parse_asked(&repository, &asked.action, parse_claims(&asked.claims_json)?)?;
        let capability = asked.capability;
        let explained = self
            .0
            .scan_as(&request, "explain", move |snapshot, caller| {
                explain::permissions(snapshot, caller, &whom, asked)
            })
            .await?;
        Ok(Response::new(ExplainResponse {
            explanation: Some(encoded(explained, (capability, &repository))),
        }))
    }

    async fn test_claims(
        &self,
        request: Request<TestClaimsRequest>,
    ) -> Result<Response<TestClaimsResponse>, Status> {
        let asked = request.get_ref();
        let repository = asked.repository.clone();
        let act = act_of(parse_claims(&asked.claims_json)?)?;
        let asked = parse_asked(&repository, &asked.action, Claims::new())?;
        let capability = asked.capability;
        let explained = self
            .0
            .scan_as(&request, "test_claims", move |snapshot, caller| {
                explain::claims(snapshot, caller, asked, &act)
            })
            .await?;
        Ok(Response::new(TestClaimsResponse {
            explanation: Some(encoded(explained, (capability, &repository))),
        }))
    }

    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Result<Response<WhoAmIResponse>, Status> {
        let answer = self
            .0
            .scan_as(&request, "who_am_i", |snapshot, caller| {
                let decision = access::decide(snapshot, &caller.rules, &caller.bearer(), Vec::new())?;
                let mut bindings = Vec::new();
                for identity in &decision.identities {
                    let left = OWN_BINDINGS - bindings.len();
                    for binding in snapshot.bindings_of(&identity.id, left)? {
                        bindings.push(encode::binding(snapshot, &binding)?);
                    }
                }
                let principal = caller.principal();
                Ok(WhoAmIResponse {
                    upstream: Some(identity(&principal.issuer, &principal.subject)),
                    identities: decision.identities.iter().map(encode::summary).collect(),
                    expires_at: caller.claims.expires_at,
                    bindings,
                    narrowing: Some(encode::narrowing(&caller.narrowing)),
                })
            })
            .await?;
        Ok(Response::new(answer))
    }
}
