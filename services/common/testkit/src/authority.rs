//! The part of `auth.v1` that verifiers of tokens need, over keys of the test.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use roadstead_proto::auth::v1::{
    CheckRequest, CheckResponse, Identity, KeySet, ListKeySetsRequest, ListKeySetsResponse,
    ListReadablePrefixesRequest, ListReadablePrefixesResponse, NoteRepositoryRequest, NoteRepositoryResponse,
    TokenKind,
    authorization_service_server::{AuthorizationService, AuthorizationServiceServer},
    key_service_server::{KeyService, KeyServiceServer},
    repository_notice_service_server::{RepositoryNoticeService, RepositoryNoticeServiceServer},
    revocation_service_server::RevocationServiceServer,
};
use roadstead_rpc::{AllowList, CallPolicy, ErrorReason, Peer, RpcChannel, RpcServer, status};
use roadstead_types::{Principal, RepositoryName, RepositoryPrefix};
use tonic::{Code, Request, Response, Status};

use crate::{TestKeys, TestRevocations};

/// Seconds for which keys may be used; short, so that tests see verifiers come back.
const MAX_AGE: u32 = 2;

/// Serves `KeyService`, `AuthorizationService` and `RepositoryNoticeService` for the tokens of [`TestKeys`].
#[derive(Clone, Debug)]
pub struct TestAuthority(Arc<State>);

#[derive(Debug)]
struct State {
    keys: Mutex<TestKeys>,
    readable: Mutex<BTreeMap<Principal, Sight>>,
    noted: Mutex<Vec<String>>,
    revocations: TestRevocations,
    down: AtomicBool,
    calls: AtomicUsize,
    checks: AtomicUsize,
}

/// What a principal may see; the anonymous one's is public.
#[derive(Clone, Debug, Default)]
struct Sight {
    prefixes: Vec<String>,
    repositories: Vec<String>,
    audit_prefixes: Vec<String>,
    audit_repositories: Vec<String>,
}

impl Sight {
    fn allows_pull(&self, name: &RepositoryName) -> bool {
        let under =
            |prefix: &String| RepositoryPrefix::parse(prefix).is_ok_and(|prefix| prefix.contains(name));
        self.prefixes.iter().any(under) || self.repositories.iter().any(|known| known == name.as_str())
    }
}

impl TestAuthority {
    pub(crate) fn new(keys: TestKeys) -> Self {
        Self(Arc::new(State {
            keys: Mutex::new(keys),
            readable: Mutex::default(),
            noted: Mutex::default(),
            revocations: TestRevocations::default(),
            down: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
            checks: AtomicUsize::new(0),
        }))
    }

    /// Lets `principal` read the repositories under `prefix`, beyond what is public.
    pub fn grant_read(&self, principal: &Principal, prefix: &str) {
        self.grant(principal, |sight| sight.prefixes.push(prefix.to_owned()));
    }

    /// Lets `principal` read one repository, and none below its name.
    pub fn grant_read_of(&self, principal: &Principal, repository: &str) {
        self.grant(principal, |sight| sight.repositories.push(repository.to_owned()));
    }

    /// Lets `principal` read the audit events under `prefix`.
    pub fn grant_audit(&self, principal: &Principal, prefix: &str) {
        self.grant(principal, |sight| sight.audit_prefixes.push(prefix.to_owned()));
    }

    /// Lets `principal` read the audit events of one repository.
    pub fn grant_audit_of(&self, principal: &Principal, repository: &str) {
        self.grant(principal, |sight| {
            sight.audit_repositories.push(repository.to_owned());
        });
    }

    /// Lets everybody read the repositories under `prefix`.
    pub fn make_public(&self, prefix: &str) {
        self.grant_read(&Principal::anonymous(), prefix);
    }

    /// Takes back all that was public.
    pub fn make_private(&self) {
        self.grant(&Principal::anonymous(), |sight| *sight = Sight::default());
    }

    /// Returns the repositories that were said to be new, in order.
    pub fn noted(&self) -> Vec<String> {
        self.0
            .noted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Returns how often it was asked what may be done to one repository.
    pub fn checks(&self) -> usize {
        self.0.checks.load(Ordering::SeqCst)
    }

    fn grant(&self, principal: &Principal, change: impl FnOnce(&mut Sight)) {
        let mut readable = self.0.readable.lock().unwrap_or_else(PoisonError::into_inner);
        change(readable.entry(principal.clone()).or_default());
    }

    /// Revokes tokens.
    pub fn revocations(&self) -> &TestRevocations {
        &self.0.revocations
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
            .allow("roadstead.auth.v1.AuthorizationService", &callers)
            .allow("roadstead.auth.v1.RevocationService", &callers)
            .allow("roadstead.auth.v1.RepositoryNoticeService", &[Peer::Metadata])
            // For tests that add these services.
            .allow("roadstead.auth.v1.TokenService", &[Peer::Gateway])
            .allow("roadstead.auth.v1.OutboxService", &[Peer::Events]);
        RpcServer::new(Peer::Auth, allowed)
            .add_service(KeyServiceServer::new(self.clone()))
            .add_service(AuthorizationServiceServer::new(self.clone()))
            .add_service(RevocationServiceServer::new(self.0.revocations.clone()))
            .add_service(RepositoryNoticeServiceServer::new(self.clone()))
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

impl TestAuthority {
    /// Whose token it is, and what its bearer may see; of no token, what everybody may.
    fn sight_of(&self, token: &str) -> Result<(Principal, Sight), Status> {
        let principal = match token {
            "" => Some(Principal::anonymous()),
            token => self.keys().identify(token),
        };
        let Some(principal) = principal else {
            return Err(status(
                Code::Unauthenticated,
                ErrorReason::TokenInvalid,
                "not signed by the test",
            ));
        };
        let readable = self.0.readable.lock().unwrap_or_else(PoisonError::into_inner);
        let sight = readable.get(&principal).cloned().unwrap_or_default();
        Ok((principal, sight))
    }
}

#[tonic::async_trait]
impl AuthorizationService for TestAuthority {
    async fn list_readable_prefixes(
        &self,
        request: Request<ListReadablePrefixesRequest>,
    ) -> Result<Response<ListReadablePrefixesResponse>, Status> {
        self.check_up()?;
        let (principal, sight) = self.sight_of(&request.get_ref().token)?;
        Ok(Response::new(ListReadablePrefixesResponse {
            prefixes: sight.prefixes,
            identity: (!principal.is_anonymous()).then(|| Identity {
                issuer: principal.issuer.clone(),
                subject: principal.subject.clone(),
            }),
            audit_prefixes: sight.audit_prefixes,
            repositories: sight.repositories,
            audit_repositories: sight.audit_repositories,
        }))
    }

    /// Answers `pull` alone: nobody asks this of the rest.
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        self.0.checks.fetch_add(1, Ordering::SeqCst);
        self.check_up()?;
        let (_, sight) = self.sight_of(&request.get_ref().token)?;
        let may_pull =
            RepositoryName::parse(&request.get_ref().repository).is_ok_and(|name| sight.allows_pull(&name));
        Ok(Response::new(CheckResponse {
            actions: may_pull.then(|| "pull".to_owned()).into_iter().collect(),
        }))
    }
}

#[tonic::async_trait]
impl RepositoryNoticeService for TestAuthority {
    async fn note_repository(
        &self,
        request: Request<NoteRepositoryRequest>,
    ) -> Result<Response<NoteRepositoryResponse>, Status> {
        self.check_up()?;
        let mut noted = self.0.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.push(request.into_inner().repository);
        Ok(Response::new(NoteRepositoryResponse {}))
    }
}
