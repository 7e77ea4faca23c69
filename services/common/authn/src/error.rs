//! Why a token is not believed.

use std::{sync::Arc, time::Duration};

use roadstead_rpc::{ErrorReason, status, with_retry_after};
use tonic::{Code, Status};

use crate::RegistryClaims;

/// Why a token is not believed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VerifyError<C = RegistryClaims> {
    /// The token is malformed, of another kind or registry, not yet good, or under a key that is not ours.
    #[error("the token is not one of this registry")]
    Invalid,
    /// Everything about the token holds but its age.
    #[error("the token has expired")]
    Expired(Arc<C>),
    /// The token would be good, or would have been, and was taken back.
    #[error("the token was revoked")]
    Revoked(Arc<C>),
    /// Keys, or what was revoked, have not been had since this process started.
    #[error("the keys of the authentication service have not arrived yet")]
    KeysUnavailable,
}

impl<C> From<VerifyError<C>> for Status {
    fn from(error: VerifyError<C>) -> Self {
        match error {
            VerifyError::Invalid => status(
                Code::Unauthenticated,
                ErrorReason::TokenInvalid,
                "the token is not one of this registry",
            ),
            VerifyError::Expired(_) => status(
                Code::Unauthenticated,
                ErrorReason::TokenExpired,
                "the token has expired",
            ),
            VerifyError::Revoked(_) => status(
                Code::Unauthenticated,
                ErrorReason::TokenInvalid,
                "the token was revoked; get another",
            ),
            VerifyError::KeysUnavailable => with_retry_after(
                status(
                    Code::Unavailable,
                    ErrorReason::Unavailable,
                    "tokens cannot be verified before the keys have arrived",
                ),
                Duration::from_secs(1),
            ),
        }
    }
}
