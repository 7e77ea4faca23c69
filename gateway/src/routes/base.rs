//! `/v2/`: where clients find out how to get a token.

use axum::response::Response;

use crate::{
    auth::{Caller, expired, token_needed},
    error::Failure,
    respond,
};

/// Answers 200 to any good token and 401 to everyone else, even though some repositories may be public: clients take the
/// challenge from here only, and would never log in after a 200.
pub(super) fn get(caller: &Caller<'_>) -> Result<Response, Failure> {
    match caller {
        Caller::Anonymous => Err(token_needed()),
        Caller::Expired { claims, .. } => Err(expired(claims)),
        Caller::Holder { .. } => Ok(respond::json("{}")),
    }
}
