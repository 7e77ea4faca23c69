//! Who did something.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An identity as its issuer names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Principal {
    /// The `iss` of the identity token: a URL.
    pub issuer: String,
    /// The `sub` of the identity token. Unique only together with the issuer.
    pub subject: String,
}

impl Principal {
    /// Makes the principal of an issuer's subject.
    pub fn new(issuer: impl Into<String>, subject: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            subject: subject.into(),
        }
    }

    /// A caller who showed no identity.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// Whether the caller showed no identity.
    pub fn is_anonymous(&self) -> bool {
        self.issuer.is_empty() && self.subject.is_empty()
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_anonymous() {
            f.write_str("anonymous")
        } else {
            write!(f, "{} ({})", self.subject, self.issuer)
        }
    }
}
