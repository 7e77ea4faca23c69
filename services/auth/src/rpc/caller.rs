//! Verifies whoever calls an RPC of the administration.

use roadstead_proto::common::v1::RequestContext;
use tonic::{Request, metadata::MetadataMap};

use super::State;
use crate::{
    domain::{Narrowing, event::Author},
    error::Error,
    iam::Caller,
    store::{Result, Snapshot, Tx},
};

impl State {
    /// Runs an operation of the caller as one transaction.
    pub(super) async fn write_as<Q, T, F>(
        &self,
        request: &Request<Q>,
        name: &'static str,
        work: F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>, &Caller) -> Result<T> + Send + 'static,
    {
        let caller = self.caller(request, name)?;
        let author = caller.author.clone();
        let outcome = self
            .store
            .write(name, move |tx| {
                caller.check_alive(tx)?;
                work(tx, &caller)
            })
            .await;
        self.note_refusal(name, &author, outcome)
    }

    /// Runs a short read of the caller.
    pub(super) async fn read_as<Q, T>(
        &self,
        request: &Request<Q>,
        name: &'static str,
        work: impl FnOnce(&Snapshot<'_>, &Caller) -> Result<T>,
    ) -> Result<T> {
        let caller = self.caller(request, name)?;
        let outcome = self
            .store
            .snapshot(name, |snapshot| {
                caller.check_alive(snapshot)?;
                work(snapshot, &caller)
            })
            .await;
        self.note_refusal(name, &caller.author, outcome)
    }

    /// Runs a long read of the caller.
    pub(super) async fn scan_as<Q, T, F>(
        &self,
        request: &Request<Q>,
        name: &'static str,
        work: F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Snapshot<'_>, &Caller) -> Result<T> + Send + 'static,
    {
        let caller = self.caller(request, name)?;
        let author = caller.author.clone();
        let outcome = self
            .store
            .scan(name, move |snapshot| {
                caller.check_alive(snapshot)?;
                work(snapshot, &caller)
            })
            .await;
        self.note_refusal(name, &author, outcome)
    }

    /// Believes the access token of a request; that it was not revoked is asked in the transaction.
    fn caller<Q>(&self, request: &Request<Q>, name: &'static str) -> Result<Caller> {
        let stranger = Author {
            request: context(request.metadata()),
            ..Author::default()
        };
        self.note_refusal(name, &stranger, self.believe(request.metadata()))
    }

    /// Has a refusal told to the audit.
    pub(super) fn note_refusal<T>(
        &self,
        name: &'static str,
        author: &Author,
        outcome: Result<T>,
    ) -> Result<T> {
        let now = self.clock.unix_millis();
        self.refusals.note(name, author, &outcome, now);
        outcome
    }

    fn believe(&self, metadata: &MetadataMap) -> Result<Caller> {
        let claims = self.tokens.verify_access(bearer(metadata)?)?;
        let narrowing = Narrowing::from_token(claims.scope.as_deref(), claims.capabilities.as_deref())
            .ok_or(Error::TokenInvalid("what it is narrowed to cannot be read"))?;
        Ok(Caller {
            author: Author {
                principal: claims.principal.clone(),
                request: context(metadata),
            },
            claims,
            narrowing,
            rules: self.rules.clone(),
        })
    }
}

fn bearer(metadata: &MetadataMap) -> Result<&str> {
    let header = metadata.get("authorization").ok_or(Error::TokenMissing)?;
    let text = header
        .to_str()
        .map_err(|_| Error::TokenInvalid("it is no token"))?;
    let (scheme, token) = text
        .split_once(' ')
        .ok_or(Error::TokenInvalid("it is no token"))?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Error::TokenInvalid("it is no bearer token"));
    }
    Ok(token.trim())
}

/// What the gateway tells of the request that it passes on. It explains events; it authorises nothing.
fn context(metadata: &MetadataMap) -> RequestContext {
    let text = |key: &str| {
        let value = metadata.get(key).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    RequestContext {
        request_id: text("x-request-id"),
        client_address: text("x-roadstead-client-address"),
        user_agent: text("x-roadstead-user-agent"),
        operation_id: String::new(),
    }
}
