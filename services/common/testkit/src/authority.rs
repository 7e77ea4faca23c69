//! The part of `auth.v1` that verifiers of tokens need, over keys of the test.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use roadstead_proto::auth::v1::{
    Identity, KeySet, ListKeySetsRequest, ListKeySetsResponse, ListReadablePrefixesRequest,
    ListReadablePrefixesResponse, TokenKind,
    authorization_service_server::{AuthorizationService, AuthorizationServiceServer},
    key_service_server::{KeyService, KeyServiceServer},
};
use roadstead_rpc::{AllowList, CallPolicy, ErrorReason, Peer, RpcChannel, RpcServer, status};
use roadstead_types::Principal;
use tonic::{Code, Request, Response, Status};

use crate::TestKeys;

/// Seconds for which keys may be used; short, so that tests see verifiers come back.
const MAX_AGE: u32 = 2;

/// Serves `KeyService` and `AuthorizationService` for the tokens of [`TestKeys`].
#[derive(Clone, Debug)]
pub struct TestAuthority(Arc<State>);

#[derive(Debug)]
struct State {
    keys: Mutex<TestKeys>,
    readable: Mutex<BTreeMap<Principal, Vec<String>>>,
    down: AtomicBool,
    calls: AtomicUsize,
}

impl TestAuthority {
    pub(crate) fn new(keys: TestKeys) -> Self {
        Self(Arc::new(State {
            keys: Mutex::new(keys),
            readable: Mutex::default(),
            down: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
        }))
    }

    /// Lets `principal` read the repositories under `prefix`, beyond what is public.
    pub fn grant_read(&self, principal: &Principal, prefix: &str) {
        let mut readable = self.0.readable.lock().unwrap_or_else(PoisonError::into_inner);
        readable
            .entry(principal.clone())
            .or_default()
            .push(prefix.to_owned());
    }

    /// Publishes other keys from now on.
    pub fn publish(&self, keys: TestKeys) {
        *self.0.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Makes every call fail as an unreachable service does, or ends that.
    pub fn set_down(&self, down: bool) {
        self.0.down.store(down, Ordering::SeqCst);
    }

    /// Returns how often the keys were asked for.
    pub fn key_calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    /// Returns a server that offers these services to the peers that auth offers them to.
    pub fn server(&self) -> RpcServer {
        let callers = [Peer::Gateway, Peer::Metadata, Peer::Events];
        let allowed = AllowList::new()
            .allow("roadstead.auth.v1.KeyService", &callers)
            .allow("roadstead.auth.v1.AuthorizationService", &callers);
        RpcServer::new(Peer::Auth, allowed)
            .add_service(KeyServiceServer::new(self.clone()))
            .add_service(AuthorizationServiceServer::new(self.clone()))
    }

    /// Returns an in-process channel by which `caller` reaches that server.
    pub fn channel(&self, caller: Peer) -> RpcChannel {
        RpcChannel::in_process(&self.server(), caller, CallPolicy::default())
    }

    fn check_up(&self) -> Result<(), Status> {
        if self.0.down.load(Ordering::SeqCst) {
            return Err(status(
                Code::Unavailable,
                ErrorReason::Unavailable,
                "switched off by the test",
            ));
        }
        Ok(())
    }

    fn keys(&self) -> TestKeys {
        self.0.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[tonic::async_trait]
impl KeyService for TestAuthority {
    async fn list_key_sets(
        &self,
        _request: Request<ListKeySetsRequest>,
    ) -> Result<Response<ListKeySetsResponse>, Status> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        self.check_up()?;
        let keys = self.keys();
        let key_sets = keys
            .kinds()
            .into_iter()
            .zip([TokenKind::Access, TokenKind::Registry])
            .map(|((issuer, token_type, jwks), kind)| KeySet {
                kind: kind.into(),
                issuer,
                audience: keys.service().to_owned(),
                token_type: token_type.to_owned(),
                jwks_json: jwks.to_string(),
            })
            .collect();
        Ok(Response::new(ListKeySetsResponse {
            key_sets,
            max_age: MAX_AGE,
        }))
    }
}

#[tonic::async_trait]
impl AuthorizationService for TestAuthority {
    async fn list_readable_prefixes(
        &self,
        request: Request<ListReadablePrefixesRequest>,
    ) -> Result<Response<ListReadablePrefixesResponse>, Status> {
        self.check_up()?;
        let Some(principal) = self.keys().identify(&request.get_ref().token) else {
            return Err(status(
                Code::Unauthenticated,
                ErrorReason::TokenInvalid,
                "not signed by the test",
            ));
        };
        let readable = self.0.readable.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Response::new(ListReadablePrefixesResponse {
            prefixes: readable.get(&principal).cloned().unwrap_or_default(),
            identity: (!principal.is_anonymous()).then(|| Identity {
                issuer: principal.issuer.clone(),
                subject: principal.subject.clone(),
            }),
        }))
    }
}
