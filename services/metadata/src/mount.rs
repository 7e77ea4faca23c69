//! From which repository a blob may be mounted.

use roadstead_types::{Action, Digest, RepositoryName};

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
    if caller.allows(&from, Action::Pull) || known(core.authority.is_public(&from).await)? {
        return Ok(Some(from));
    }
    if caller.was_denied(&from, Action::Pull) {
        return Ok(None);
    }
    Err(Error::ScopeInsufficient {
        resource: from.to_string(),
        action: Action::Pull,
    })
}

async fn any_source(
    core: &Core,
    caller: &Caller,
    token: &str,
    request: &MountRequest,
) -> Result<Option<RepositoryName>, Error> {
    let readable = known(core.authority.readable(token).await)?;
    let public = known(core.authority.public().await)?;
    let target = caller
        .allows(&request.target, Action::Pull)
        .then(|| request.target.clone());
    core.store
        .find_blob_source(request.digest.clone(), move |name| {
            target.as_ref() == Some(name) || readable.contains(name) || public.contains(name)
        })
        .await
}

/// The client asked only whether it can spare the upload: when auth is away, what is known here must do.
fn known<T: Default>(answer: Result<T, Error>) -> Result<T, Error> {
    match answer {
        Err(Error::AuthUnavailable) => Ok(T::default()),
        answer => answer,
    }
}
