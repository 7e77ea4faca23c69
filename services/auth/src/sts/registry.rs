//! From a credential to a registry token.

use roadstead_authn::Access;
use roadstead_proto::auth::v1::{IssueRegistryTokenRequest, IssueRegistryTokenResponse};
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    credential::{Credential, Place, Standing},
    millis,
};
use crate::{
    access::{self, Decision},
    domain::{Denied, event::new_id, parse_scopes},
    error::Error,
    rpc::State,
    store::{LastUse, Session, SessionKind},
    tokens::{Bearer, with_claims},
};

impl State {
    pub(crate) async fn issue_registry_token(
        &self,
        request: &IssueRegistryTokenRequest,
    ) -> Result<IssueRegistryTokenResponse, Error> {
        if !request.service.is_empty() && request.service != self.tokens.service() {
            return Err(Error::ServiceUnknown(self.tokens.service().to_owned()));
        }
        let scopes = parse_scopes(&request.scopes)?;
        let credential = Credential::read(&request.credential, &self.tokens, &self.refresh)?;
        let place = Place {
            origin: self.tokens.origin(),
            client_address: request
                .context
                .as_ref()
                .map_or("", |context| context.client_address.as_str()),
        };
        let (standing, decision) = self
            .store
            .snapshot("issue_registry_token", |snapshot| {
                let standing = credential.stand(snapshot, place)?;
                let bearer = access::Bearer {
                    identities: &standing.identities,
                    act: standing.act.as_ref(),
                    narrowing: &standing.narrowing,
                };
                let decision = access::decide(snapshot, &self.rules, &bearer, scopes)?;
                Ok((standing, decision))
            })
            .await?;
        self.note_pull_token(&credential, place);
        let refresh_token = match &standing.act {
            Some(_) if request.offline && standing.can_be_kept && !self.session_lives.client.is_zero() => {
                self.begin_client_session(&standing, decision.revision).await?
            }
            _ => None,
        };
        let granted_scopes = decision.granted.iter().map(ToString::to_string).collect();
        let signed = self.sign_decision(standing, decision)?;
        Ok(IssueRegistryTokenResponse {
            expires_in: signed.expires_in(),
            token: signed.token,
            issued_at: signed.issued_at,
            granted_scopes,
            refresh_token: refresh_token.map_or_else(String::new, |token| token.expose_secret().to_owned()),
        })
    }

    fn sign_decision(&self, standing: Standing, decision: Decision) -> Result<crate::tokens::Signed, Error> {
        let bearer = Bearer {
            act: standing.act.map(|act| with_claims(&act, decision.claims)),
            identities: decision
                .identities
                .into_iter()
                .map(|identity| identity.id)
                .collect(),
            credential: standing.credential,
            revision: decision.revision,
            narrowing: standing.narrowing,
        };
        let access = decision.granted.iter().map(Access::from).collect();
        let denied = decision.denied.iter().map(refusal).collect();
        self.tokens.sign_registry(bearer, access, denied, standing.until)
    }

    fn note_pull_token(&self, credential: &Credential, place: Place<'_>) {
        if let Credential::Pull(secret) = credential {
            self.uses.note(LastUse {
                id: secret.id().to_owned(),
                at: self.clock.unix_millis(),
                from: place.client_address.to_owned(),
            });
        }
    }

    /// Gives a client something to keep. It says the revision of the decision: what is revoked between the two counts.
    async fn begin_client_session(
        &self,
        standing: &Standing,
        revision: u64,
    ) -> Result<Option<SecretString>, Error> {
        let now = self.clock.unix_millis();
        let session = Session {
            id: format!("ses_{}", new_id(now).simple()),
            kind: SessionKind::Client,
            act: standing.act.clone().unwrap_or_default(),
            identities: standing.identities.clone(),
            narrowing: standing.narrowing.clone(),
            credential: standing.credential.clone(),
            revision,
            generation: 1,
            rotated_at: now,
            created_at: now,
            expires_at: now + millis(self.session_lives.client),
            ended: false,
        };
        let token = self.refresh.token(&session.id, session.generation);
        let begun = self
            .store
            .write("begin_client_session", move |tx| tx.insert_session(&session))
            .await?;
        Ok(begun.then_some(token))
    }
}

fn refusal(denied: &Denied) -> Access {
    Access {
        why: Some(denied.why.clone()).filter(|why| !why.is_empty()),
        ..Access::from(&denied.scope)
    }
}
