//! Who calls, and what they may do.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use roadstead_authn::{AccessClaims, RegistryClaims, Verifier, VerifyError, token_hash};
use roadstead_proto::auth::v1::authorization_service_client::AuthorizationServiceClient;
use roadstead_proto::auth::v1::{CheckRequest, ListReadablePrefixesRequest};
use roadstead_proto::metadata::v1::ReadAccess;
use roadstead_proto::metadata::v1::read_access::Ground;
use roadstead_rpc::{ErrorReason, MAX_MESSAGE_BYTES, RpcChannel, reason};
use roadstead_types::{Action, RepositoryName, RepositorySet};

use crate::domain::author::{Author, RequestInfo};
use crate::error::Error;
use crate::store::Store;

/// A push mounts many blobs with one token in a row; a grant that is taken away is missed for this long at most.
const READABLE_TTL: Duration = Duration::from_secs(30);
const READABLE_CACHED: u64 = 10_000;
/// What stops being public is open for this long at most.
const PUBLIC_TTL: Duration = Duration::from_secs(2);
/// Strangers choose the names that are asked about.
const PUBLIC_CACHED: u64 = 10_000;

/// Believes tokens, and asks auth what they may read and what is public. Of what auth does not answer nothing is readable and
/// nothing is public.
#[derive(Clone)]
pub(crate) struct Authority {
    verifier: Verifier,
    authorization: AuthorizationServiceClient<RpcChannel>,
    /// By token hash.
    readable: Cache<[u8; 32], Arc<RepositorySet>>,
    /// Whether one repository is public.
    public: Cache<RepositoryName, bool>,
    /// All that is public.
    public_set: Cache<(), Arc<RepositorySet>>,
}

/// The bearer of a registry token of which everything holds, though it may be expired.
#[derive(Debug)]
pub(crate) struct Caller {
    claims: Arc<RegistryClaims>,
    expired: bool,
    token_hash: [u8; 32],
}

/// On what a read was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Everything may be read.
    Full,
    /// A push grant: heads only.
    HeadOnly,
}

impl Admission {
    /// Refuses what a push grant does not admit: its bearer needs a fresh token.
    pub(crate) fn require_full(self) -> Result<(), Error> {
        match self {
            Self::Full => Ok(()),
            Self::HeadOnly => Err(Error::TokenExpired),
        }
    }
}

impl Authority {
    pub(crate) fn new(verifier: Verifier, auth: RpcChannel) -> Self {
        let authorization = AuthorizationServiceClient::new(auth)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let readable = Cache::builder()
            .max_capacity(READABLE_CACHED)
            .time_to_live(READABLE_TTL)
            .build();
        let public = Cache::builder()
            .max_capacity(PUBLIC_CACHED)
            .time_to_live(PUBLIC_TTL)
            .build();
        let public_set = Cache::builder().max_capacity(1).time_to_live(PUBLIC_TTL).build();
        Self {
            verifier,
            authorization,
            readable,
            public,
            public_set,
        }
    }

    /// Verifies a registry token.
    pub(crate) fn caller(&self, token: &str) -> Result<Caller, Error> {
        if token.is_empty() {
            return Err(Error::TokenMissing);
        }
        let (claims, expired) = match self.verifier.registry(token) {
            Ok(claims) => (claims, false),
            Err(VerifyError::Expired(claims)) => (claims, true),
            Err(VerifyError::Invalid) => return Err(Error::TokenInvalid),
            Err(VerifyError::Revoked(_)) => return Err(Error::TokenRevoked),
            Err(VerifyError::KeysUnavailable) => return Err(Error::AuthUnavailable),
        };
        Ok(Caller {
            claims,
            expired,
            token_hash: token_hash(token),
        })
    }

    /// Verifies an access token.
    pub(crate) fn operator(&self, token: &str) -> Result<Arc<AccessClaims>, Error> {
        if token.is_empty() {
            return Err(Error::TokenMissing);
        }
        self.verifier.access(token).map_err(|error| match error {
            VerifyError::Expired(_) => Error::TokenExpired,
            VerifyError::Invalid => Error::TokenInvalid,
            VerifyError::Revoked(_) => Error::TokenRevoked,
            VerifyError::KeysUnavailable => Error::AuthUnavailable,
        })
    }

    /// Asks auth what the bearer of a verified token may read beyond what is public. Remembered briefly.
    pub(crate) async fn readable(&self, token: &str) -> Result<Arc<RepositorySet>, Error> {
        self.readable
            .try_get_with(token_hash(token), self.ask_readable(token))
            .await
            .map_err(|status| match reason(&status) {
                ErrorReason::TokenInvalid => Error::TokenInvalid,
                ErrorReason::TokenExpired => Error::TokenExpired,
                _ => Error::AuthUnavailable,
            })
    }

    /// Asks auth whether everybody may pull from the repository, which need not exist. Remembered for a moment.
    pub(crate) async fn is_public(&self, name: &RepositoryName) -> Result<bool, Error> {
        let mut client = self.authorization.clone();
        let ask = async {
            let request = CheckRequest {
                token: String::new(),
                repository: name.to_string(),
            };
            let allowed = client.check(request).await?.into_inner().actions;
            let pull = Action::Pull.as_str();
            Ok::<_, tonic::Status>(allowed.iter().any(|action| action == pull))
        };
        let known = self.public.try_get_with_by_ref(name, ask).await;
        known.map_err(|_| Error::AuthUnavailable)
    }

    /// Asks auth for all that is public. Remembered for a moment.
    pub(crate) async fn public(&self) -> Result<Arc<RepositorySet>, Error> {
        let known = self.public_set.try_get_with((), self.ask_readable("")).await;
        known.map_err(|_| Error::AuthUnavailable)
    }

    async fn ask_readable(&self, token: &str) -> Result<Arc<RepositorySet>, tonic::Status> {
        let request = ListReadablePrefixesRequest {
            token: token.to_owned(),
        };
        let mut client = self.authorization.clone();
        let seen = client.list_readable_prefixes(request).await?.into_inner();
        Ok(Arc::new(RepositorySet::from_texts(
            &seen.prefixes,
            &seen.repositories,
        )))
    }

    /// Decides whether a read may be made, before anything tells whether the repository exists.
    pub(crate) async fn admit_read(
        &self,
        access: Option<&ReadAccess>,
        name: &RepositoryName,
        store: &Store,
    ) -> Result<Admission, Error> {
        let ground = access.map_or(Ground::Unspecified, ReadAccess::ground);
        match ground {
            Ground::Unspecified => Err(Error::RepositoryUnknown),
            Ground::Granted => Ok(Admission::Full),
            Ground::PublicOnly if self.is_public(name).await? => Ok(Admission::Full),
            Ground::PublicOnly => Err(Error::PermissionMissing {
                identity: roadstead_types::Principal::anonymous(),
                resource: name.to_string(),
                action: Action::Pull,
            }),
            Ground::PushGrant => {
                let token = access
                    .map(|access| access.registry_token.as_str())
                    .unwrap_or_default();
                let caller = self.caller(token)?;
                let admitted =
                    caller.claims.allows(name, Action::Pull) || caller.claims.allows(name, Action::Push);
                if admitted && store.has_push_grant(&caller.token_hash, name).await? {
                    Ok(Admission::HeadOnly)
                } else {
                    Err(Error::TokenExpired)
                }
            }
        }
    }
}

impl Caller {
    /// Demands a scope of the token.
    pub(crate) fn require(&self, name: &RepositoryName, action: Action) -> Result<(), Error> {
        if self.claims.allows(name, action) {
            return Ok(());
        }
        if self.expired {
            return Err(Error::TokenExpired);
        }
        let resource = name.to_string();
        if self.was_denied(name, action) && !self.claims.principal.is_anonymous() {
            let identity = self.claims.principal.clone();
            return Err(Error::PermissionMissing {
                identity,
                resource,
                action,
            });
        }
        Err(Error::ScopeInsufficient { resource, action })
    }

    /// Demands that the token is not expired.
    pub(crate) fn require_fresh(&self) -> Result<(), Error> {
        if self.expired {
            Err(Error::TokenExpired)
        } else {
            Ok(())
        }
    }

    pub(crate) fn allows(&self, name: &RepositoryName, action: Action) -> bool {
        self.claims.allows(name, action)
    }

    pub(crate) fn was_denied(&self, name: &RepositoryName, action: Action) -> bool {
        self.claims.was_denied(name, action)
    }

    pub(crate) fn is_expired(&self) -> bool {
        self.expired
    }

    pub(crate) fn token_hash(&self) -> &[u8; 32] {
        &self.token_hash
    }

    pub(crate) fn into_author(self, request: RequestInfo) -> Author {
        Author {
            principal: self.claims.principal.clone(),
            token_hash: self.token_hash,
            expired: self.expired,
            request,
        }
    }
}
