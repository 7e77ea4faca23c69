//! From an identity token to an access token.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use roadstead_authn::{Act, token_hash};
use roadstead_proto::{
    auth::v1::{ExchangeRequest, ExchangeResponse, Identity as UpstreamIdentity, IdentitySummary},
    common::v1::RequestContext,
};
use roadstead_types::RepositoryPrefix;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{SessionLives, carried::carried, millis, narrowing_of, seconds_until};
use crate::{
    access::{self, IDENTITIES_LIMIT},
    domain::{
        CLAIM_LIMIT, Condition, Human, Identity, Narrowing, Rule, Rules, Upstream,
        event::{AuditEvent, Author, new_id},
        human_id,
    },
    error::Error,
    issuers::{self, IssuerKeySet, Verified},
    rpc::State,
    store::{Session, SessionKind, Snapshot, Tx},
    tokens::Bearer,
};

type Result<T, E = Error> = std::result::Result<T, E>;

/// Longer than any id or full name.
const REFERENCE_LIMIT: usize = 512;

/// An exchange as it is written down, all of one moment.
struct Exchange {
    rules: Arc<Rules>,
    verified: Verified,
    claims: BTreeMap<String, Value>,
    /// Ids of identities that the claims matched a moment ago. It is looked at again what they are now.
    candidates: Vec<String>,
    /// Whether the token is that of a person who logs in.
    is_login: bool,
    /// The identity that was asked for; empty for all.
    named: String,
    narrowing: Narrowing,
    wants_session: bool,
    lives: SessionLives,
    /// SHA-256 of the identity token, in hexadecimal.
    token_sha256: String,
    context: RequestContext,
}

/// What an exchange came to.
struct Outcome {
    act: Act,
    identities: Vec<Identity>,
    revision: u64,
    session: Option<Session>,
}

impl State {
    pub(crate) async fn exchange(&self, request: ExchangeRequest) -> Result<ExchangeResponse> {
        let asked = request.audience.as_str();
        if !asked.is_empty() && asked != self.tokens.service() && asked != self.tokens.origin() {
            return Err(Error::ServiceUnknown(self.tokens.service().to_owned()));
        }
        let narrowing = narrowing_of(request.narrowing.as_ref())?;
        if request.identity.len() > REFERENCE_LIMIT {
            return Err(Error::argument("no identity has so long a name"));
        }
        let verified = self.verify_upstream(&request.identity_token).await?;
        let claims: BTreeMap<String, Value> = verified.claims.clone().into_iter().collect();
        let candidates = if request.identity.is_empty() {
            self.candidates(&verified, &claims).await?
        } else {
            Vec::new()
        };
        let issuer = self.issuers.get(&verified.issuer);
        let exchange = Exchange {
            rules: self.rules.clone(),
            is_login: issuer.is_some_and(|issuer| issuer.is_login(&verified.audience)),
            verified,
            claims,
            candidates,
            named: request.identity,
            narrowing: narrowing.clone(),
            wants_session: request.session,
            lives: self.session_lives,
            token_sha256: hex(&token_hash(&request.identity_token)),
            context: request.context.unwrap_or_default(),
        };
        let outcome = self
            .store
            .write("exchange", move |tx| exchange.record(tx))
            .await?;
        self.answer(outcome, narrowing)
    }

    fn answer(&self, outcome: Outcome, narrowing: Narrowing) -> Result<ExchangeResponse> {
        let identity = UpstreamIdentity {
            issuer: outcome.act.issuer.clone(),
            subject: outcome.act.subject.clone(),
        };
        let session = outcome.session.as_ref();
        let bearer = Bearer {
            act: Some(outcome.act),
            identities: outcome
                .identities
                .iter()
                .map(|identity| identity.id.clone())
                .collect(),
            credential: session.map(|session| Session::credential_of(&session.id)),
            revision: outcome.revision,
            narrowing,
        };
        let signed = self.tokens.sign_access(bearer)?;
        tracing::info!(
            issuer = identity.issuer,
            subject = identity.subject,
            identities = outcome.identities.len(),
            "exchanged an identity token"
        );
        let refresh = session.map(|session| self.refresh.token(&session.id, session.generation));
        let now = self.clock.unix_millis();
        Ok(ExchangeResponse {
            expires_in: signed.expires_in(),
            access_token: signed.token,
            issued_at: signed.issued_at,
            identity: Some(identity),
            identities: outcome.identities.iter().map(summary).collect(),
            refresh_expires_in: session
                .map(|session| seconds_until(session.over_at(self.session_lives), now))
                .unwrap_or_default(),
            refresh_token: refresh.map_or_else(String::new, |token| token.expose_secret().to_owned()),
        })
    }

    /// Finds the identities that a token is of, beside the writer: whoever makes identities decides how long it takes.
    async fn candidates(&self, verified: &Verified, claims: &BTreeMap<String, Value>) -> Result<Vec<String>> {
        let (rules, claims) = (self.rules.clone(), claims.clone());
        let (issuer, subject) = (verified.issuer.clone(), verified.subject.clone());
        self.store
            .scan("match_identities", move |snapshot| {
                let upstream = Upstream {
                    issuer: &issuer,
                    subject: &subject,
                    claims: &claims,
                };
                let matched = access::match_identities(snapshot, &rules, &upstream)?;
                Ok(matched.into_iter().map(|identity| identity.id).collect())
            })
            .await
    }

    /// Verifies an identity token of a configured issuer, or of a static identity.
    async fn verify_upstream(&self, token: &str) -> Result<Verified> {
        let peeked = issuers::peek(token)?;
        let audience = peeked.sole_audience()?;
        let now = self.clock.unix_seconds();
        if let Some(issuer) = self.issuers.get(&peeked.issuer) {
            // Before any key is asked for, so that tokens for others cost no fetch.
            let known = issuer.expects(audience)
                || self
                    .store
                    .snapshot("known_audience", |snapshot| {
                        access::is_audience_known(snapshot, &self.rules, &peeked.issuer, audience)
                    })
                    .await?;
            if !known {
                return Err(Error::TokenInvalid(
                    "its audience is not one that is accepted from its issuer",
                ));
            }
            let keys = issuer.keys(&peeked).await?;
            return issuers::verify(token, &peeked, audience, &keys, now);
        }
        let keys = self
            .store
            .snapshot("static_identity", |snapshot| {
                static_keys(snapshot, &self.rules, &peeked.issuer, peeked.subject(), audience)
            })
            .await?;
        let keys = keys.matching(peeked.kid.as_deref(), peeked.algorithm);
        issuers::verify(token, &peeked, audience, &keys, now)
    }
}

/// The keys that were registered for an issuer's subject.
fn static_keys(
    snapshot: &Snapshot<'_>,
    rules: &Rules,
    issuer: &str,
    subject: &str,
    audience: &str,
) -> Result<IssuerKeySet> {
    let untrusted = || Error::IssuerUntrusted(issuer.chars().take(CLAIM_LIMIT).collect());
    let identity = snapshot.static_identity(issuer, subject)?.ok_or_else(untrusted)?;
    let Rule::Static(rule) = &identity.rule else {
        return Err(untrusted());
    };
    if identity.expires_at.is_some_and(|end| end <= snapshot.now) {
        return Err(Error::TokenInvalid(
            "the keys of its subject are registered no longer",
        ));
    }
    if audience != rule.audience.as_deref().unwrap_or(&rules.service) {
        return Err(Error::TokenInvalid(
            "its audience is not the one registered for its subject",
        ));
    }
    IssuerKeySet::from_public(&rule.jwks)
        .map_err(|_| Error::TokenInvalid("no key that is registered for its subject can be used"))
}

impl Exchange {
    fn record(self, tx: &Tx<'_>) -> Result<Outcome> {
        if self.is_login {
            self.note_person(tx)?;
        }
        let upstream = Upstream {
            issuer: &self.verified.issuer,
            subject: &self.verified.subject,
            claims: &self.claims,
        };
        let identities = self.find_identities(tx, &upstream)?;
        tx.note_use(identities.iter().map(|identity| identity.id.as_str()))?;
        let wanted = wanted(tx, &identities)?;
        let act = Act {
            issuer: self.verified.issuer.clone(),
            subject: self.verified.subject.clone(),
            claims: carried(&self.verified.claims, &wanted, &self.rules.patterns),
        };
        let revision = tx.revision()?;
        let session = self.begin_session(tx, &act, &identities, revision)?;
        self.announce(tx, &act, &identities, session.as_ref())?;
        Ok(Outcome {
            act,
            identities,
            revision,
            session,
        })
    }

    fn find_identities(&self, tx: &Tx<'_>, upstream: &Upstream<'_>) -> Result<Vec<Identity>> {
        if !self.named.is_empty() {
            let found = access::named_identity(tx, &self.rules, upstream, &self.named)?;
            return found
                .map(|identity| vec![identity])
                .map_err(Error::IdentityMismatch);
        }
        // The person may have been made a line above, and comes before all others.
        let person = self.is_login.then(|| human_id(upstream.issuer, upstream.subject));
        let mut found: Vec<Identity> = Vec::new();
        for id in person.iter().chain(&self.candidates) {
            if found.len() < IDENTITIES_LIMIT
                && found.iter().all(|other| other.id != *id)
                && let Some(identity) = tx.identity(id)?
                && identity.check(upstream, &self.rules, tx.now).is_ok()
            {
                found.push(identity);
            }
        }
        Ok(found)
    }

    /// Makes the identity of a person at the first login, and keeps their address up to date.
    fn note_person(&self, tx: &Tx<'_>) -> Result<()> {
        let Verified {
            issuer,
            subject,
            claims,
            ..
        } = &self.verified;
        let vouched = claims.get("email_verified") == Some(&Value::Bool(true));
        let email = claims
            .get("email")
            .and_then(Value::as_str)
            .filter(|email| vouched && email.len() <= CLAIM_LIMIT && !email.chars().any(char::is_control))
            .unwrap_or_default();
        let id = human_id(issuer, subject);
        let rule = Rule::Human(Human {
            issuer: issuer.clone(),
            subject: subject.clone(),
            email: email.to_owned(),
        });
        match tx.identity(&id)? {
            Some(known) if known.rule == rule || email.is_empty() => Ok(()),
            Some(known) => tx.update_identity(&Identity { rule, ..known }),
            None => {
                tx.insert_identity(&Identity {
                    id: id.clone(),
                    group: RepositoryPrefix::EVERYTHING,
                    name: None,
                    description: String::new(),
                    rule,
                    created_at: tx.now,
                    created_by: self.author().principal.to_string(),
                    expires_at: None,
                    last_used_at: None,
                })?;
                tx.announce(&AuditEvent {
                    kind: "dev.roadstead.iam.identity.created.v1",
                    path: String::new(),
                    subject: id.clone(),
                    data: json!({ "id": id, "kind": "human", "issuer": issuer, "subject": subject }),
                    author: self.author(),
                })
            }
        }
    }

    /// Begins a session when one is wanted and the token is that of a person.
    fn begin_session(
        &self,
        tx: &Tx<'_>,
        act: &Act,
        identities: &[Identity],
        revision: u64,
    ) -> Result<Option<Session>> {
        let is_person = identities
            .iter()
            .any(|identity| matches!(identity.rule, Rule::Human(_)));
        if !(self.wants_session && self.is_login && is_person) {
            return Ok(None);
        }
        let session = Session {
            id: format!("ses_{}", new_id(tx.now).simple()),
            kind: SessionKind::Login,
            act: act.clone(),
            identities: identities.iter().map(|identity| identity.id.clone()).collect(),
            narrowing: self.narrowing.clone(),
            credential: None,
            revision,
            generation: 1,
            rotated_at: tx.now,
            created_at: tx.now,
            expires_at: tx.now + millis(self.lives.longest),
            ended: false,
        };
        Ok(tx.insert_session(&session)?.then_some(session))
    }

    fn announce(
        &self,
        tx: &Tx<'_>,
        act: &Act,
        identities: &[Identity],
        session: Option<&Session>,
    ) -> Result<()> {
        let ids: Vec<&str> = identities.iter().map(|identity| identity.id.as_str()).collect();
        // Whoever reads the events of a group sees the exchanges of its identities.
        let path = match identities {
            [only] => only.group.to_string(),
            _ => String::new(),
        };
        tx.announce(&AuditEvent {
            kind: "dev.roadstead.auth.exchange.v1",
            path,
            subject: act.subject.clone(),
            data: json!({
                "issuer": act.issuer,
                "subject": act.subject,
                "audience": self.verified.audience,
                "identities": ids,
                "session": session.map(|session| &session.id),
                "token_sha256": self.token_sha256,
            }),
            author: self.author(),
        })
    }

    fn author(&self) -> Author {
        Author {
            principal: roadstead_types::Principal::new(&self.verified.issuer, &self.verified.subject),
            request: self.context.clone(),
        }
    }
}

/// What the rules of identities, and the conditions of what they are bound to, look at.
fn wanted(snapshot: &Snapshot<'_>, identities: &[Identity]) -> Result<Vec<Condition>> {
    let mut wanted = Vec::new();
    for identity in identities {
        if let Rule::ClaimMatch(rule) = &identity.rule {
            wanted.extend(rule.claims.iter().map(|(claim, text)| Condition {
                claim: claim.clone(),
                text: text.clone(),
            }));
        }
        wanted.extend(snapshot.conditions_of(&identity.id)?.into_iter().flatten());
    }
    Ok(wanted)
}

/// An identity as answers name it.
pub(crate) fn summary(identity: &Identity) -> IdentitySummary {
    IdentitySummary {
        id: identity.id.clone(),
        name: identity.full_name(),
        kind: identity.rule.kind().to_owned(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A string takes whatever is written.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
