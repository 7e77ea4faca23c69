//! Sessions: a refresh token for a fresh access token, and their end.

use std::time::Duration;

use roadstead_proto::{
    auth::v1::{ExchangeResponse, Identity as UpstreamIdentity, RefreshRequest, RevokeSessionRequest},
    common::v1::RequestContext,
};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::{SessionLives, credential::UNKNOWN_REFRESH_TOKEN, millis, narrowing_of, seconds_until, summary};
use crate::{
    access::upstream,
    domain::{
        Identity, Narrowing, Rules,
        event::{AuditEvent, Author},
    },
    error::Error,
    keys::RefreshClaims,
    rpc::State,
    store::{Session, SessionKind, Tx},
    tokens::Bearer,
};

type Result<T, E = Error> = std::result::Result<T, E>;

/// An answer may get lost, and programs of one person may come at the same time: for this long the token before gives the
/// same one again.
const GRACE: Duration = Duration::from_secs(30);

/// What a refresh came to.
enum Outcome {
    Renewed(Box<Renewed>),
    /// Somebody has a token that was replaced. Which of the two is the thief nobody knows, so both have to log in.
    Reused,
}

struct Renewed {
    session: Session,
    narrowing: Narrowing,
    identities: Vec<Identity>,
    revision: u64,
}

impl Session {
    /// When the session is over, unless it is used before. Unix milliseconds.
    pub(super) fn over_at(&self, lives: SessionLives) -> i64 {
        self.expires_at
            .min(self.rotated_at.saturating_add(millis(lives.idle)))
    }
}

impl State {
    pub(crate) async fn refresh(&self, request: RefreshRequest) -> Result<ExchangeResponse> {
        if request.refresh_token.is_empty() {
            return Err(Error::TokenMissing);
        }
        let asked = narrowing_of(request.narrowing.as_ref())?;
        let claims = self
            .refresh
            .read(&request.refresh_token)
            .ok_or(Error::TokenInvalid(UNKNOWN_REFRESH_TOKEN))?;
        let context = request.context.unwrap_or_default();
        let (lives, rules) = (self.session_lives, self.rules.clone());
        let outcome = self
            .store
            .write("refresh", move |tx| {
                renew(tx, &claims, &asked, lives, &rules, &context)
            })
            .await?;
        match outcome {
            Outcome::Renewed(renewed) => self.answer_refresh(*renewed),
            Outcome::Reused => {
                tracing::warn!("a refresh token was shown that had been replaced; its session was ended");
                Err(Error::TokenInvalid(
                    "it was replaced before, so its session was ended; log in again",
                ))
            }
        }
    }

    fn answer_refresh(&self, renewed: Renewed) -> Result<ExchangeResponse> {
        let Renewed {
            session,
            narrowing,
            identities,
            revision,
        } = renewed;
        let refresh = self.refresh.token(&session.id, session.generation);
        let left = seconds_until(session.over_at(self.session_lives), self.clock.unix_millis());
        let identity = UpstreamIdentity {
            issuer: session.act.issuer.clone(),
            subject: session.act.subject.clone(),
        };
        let bearer = Bearer {
            act: Some(session.act),
            identities: identities.iter().map(|identity| identity.id.clone()).collect(),
            credential: Some(Session::credential_of(&session.id)),
            revision,
            narrowing,
        };
        let signed = self.tokens.sign_access(bearer)?;
        Ok(ExchangeResponse {
            expires_in: signed.expires_in(),
            access_token: signed.token,
            issued_at: signed.issued_at,
            identity: Some(identity),
            identities: identities.iter().map(summary).collect(),
            refresh_token: refresh.expose_secret().to_owned(),
            refresh_expires_in: left,
        })
    }

    /// Ends the session of a refresh token, whichever of its tokens it is.
    pub(crate) async fn revoke_session(&self, request: RevokeSessionRequest) -> Result<()> {
        let Some(claims) = self.refresh.read(&request.refresh_token) else {
            return Ok(());
        };
        let context = request.context.unwrap_or_default();
        self.store
            .write("revoke_session", move |tx| match tx.session(&claims.session)? {
                Some(session) => end(tx, &session, "logout", &context),
                None => Ok(()),
            })
            .await
    }
}

/// Replaces a session's refresh token, all of one moment.
fn renew(
    tx: &Tx<'_>,
    claims: &RefreshClaims,
    asked: &Narrowing,
    lives: SessionLives,
    rules: &Rules,
    context: &RequestContext,
) -> Result<Outcome> {
    let mut session = tx
        .session(&claims.session)?
        .filter(|session| !session.ended && claims.generation <= session.generation)
        .ok_or(Error::TokenInvalid(UNKNOWN_REFRESH_TOKEN))?;
    if session.kind != SessionKind::Login {
        return Err(Error::TokenInvalid("it is good for registry tokens only"));
    }
    let since = tx.now.saturating_sub(session.rotated_at);
    let is_previous = claims.generation + 1 == session.generation;
    if claims.generation != session.generation && !(is_previous && since <= millis(GRACE)) {
        end(tx, &session, "reuse", context)?;
        return Ok(Outcome::Reused);
    }
    if session.over_at(lives) <= tx.now {
        return Err(Error::TokenExpired);
    }
    let narrowing = session.narrowing.intersection(asked)?;
    if !is_previous {
        session.generation += 1;
        session.rotated_at = tx.now;
        tx.rotate_session(&session.id, session.generation)?;
    }
    let mut identities = Vec::new();
    for id in &session.identities {
        if let Some(identity) = tx.identity(id)?
            && identity.check(&upstream(&session.act), rules, tx.now).is_ok()
        {
            identities.push(identity);
        }
    }
    tx.note_use(identities.iter().map(|identity| identity.id.as_str()))?;
    Ok(Outcome::Renewed(Box::new(Renewed {
        revision: tx.revision()?,
        session,
        narrowing,
        identities,
    })))
}

fn end(tx: &Tx<'_>, session: &Session, reason: &str, context: &RequestContext) -> Result<()> {
    if !tx.end_session(&session.id)? {
        return Ok(());
    }
    tx.announce(&AuditEvent {
        kind: "dev.roadstead.iam.session.revoked.v1",
        path: String::new(),
        subject: session.id.clone(),
        data: json!({ "id": session.id, "reason": reason, "identities": session.identities }),
        author: Author {
            principal: session.act.principal(),
            request: context.clone(),
        },
    })
}
