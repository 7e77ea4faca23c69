//! Ids of upload sessions.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::serde_as_text;

/// A text is not the id of an upload session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the upload id is not a UUID")]
pub struct UploadIdError;

/// The id of an upload session. Random, so that it cannot be guessed from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(Uuid);

impl UploadId {
    /// Makes a new id.
    #[expect(
        clippy::new_without_default,
        reason = "a default that differs each time would surprise"
    )]
    pub fn new() -> Self {
        Self(Uuid::new_v4())
    }

    /// Parses the one form that [`fmt::Display`] gives: lower case with dashes. An id has no second spelling, so it is
    /// safe as a file name and as a key.
    ///
    /// # Errors
    ///
    /// When the text is not of that form.
    pub fn parse(text: &str) -> Result<Self, UploadIdError> {
        let id = Uuid::try_parse(text).map(Self).map_err(|_| UploadIdError)?;
        if id.to_string() == text {
            Ok(id)
        } else {
            Err(UploadIdError)
        }
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for UploadId {
    type Err = UploadIdError;

    fn from_str(text: &str) -> Result<Self, UploadIdError> {
        Self::parse(text)
    }
}

serde_as_text!(UploadId);
