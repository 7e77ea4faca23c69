//! From which repository a blob may be mounted.

use std::sync::Arc;

use roadstead_types::{Action, Digest, RepositoryName, RepositoryPrefix};

use crate::Core;
use crate::access::Caller;
use crate::error::Error;

/// What a mount asks for.
pub(crate) struct MountRequest {
    pub(crate) target: RepositoryName,
    pub(crate) digest: Digest,
    /// `None`: any repository that the caller may read. Text that is no name is a source that does not exist.
    pub(crate) from: Option<String>,
}

/// Finds a repository that holds the blob and that the caller may read. Nothing else may be told apart: whether content
/// exists somewhere is nobody's business who cannot read it there.
///
/// # Errors
/// `ScopeInsufficient` when another token might allow it: the client then asks for one or uploads.
pub(crate) async fn source(
    core: &Core,
    caller: &Caller,
    token: &str,
    request: &MountRequest,
) -> Result<Option<RepositoryName>, Error> {
    let Some(from) = &request.from else {
        return any_source(core, caller, token, request).await;
    };
    let Ok(from) = RepositoryName::parse(from) else {
        return Ok(None);
    };
    if !core.policy.is_public(&from) && !caller.allows(&from, Action::Pull) {
        if caller.was_denied(&from, Action::Pull) {
            return Ok(None);
        }
        return Err(Error::ScopeInsufficient {
            resource: from.to_string(),
            action: Action::Pull,
        });
    }
    Ok(Some(from))
}

async fn any_source(
    core: &Core,
    caller: &Caller,
    token: &str,
    request: &MountRequest,
) -> Result<Option<RepositoryName>, Error> {
    // The client asked only whether it can spare the upload; when auth is away, what is known here must do.
    let prefixes: Arc<[RepositoryPrefix]> = match core.authority.readable_prefixes(token).await {
        Ok(prefixes) => prefixes,
        Err(Error::AuthUnavailable) => Arc::new([]),
        Err(error) => return Err(error),
    };
    let policy = core.policy.clone();
    let target = caller
        .allows(&request.target, Action::Pull)
        .then(|| request.target.clone());
    core.store
        .find_blob_source(request.digest.clone(), move |name| {
            policy.is_public(name)
                || target.as_ref() == Some(name)
                || prefixes.iter().any(|prefix| prefix.contains(name))
        })
        .await
}
