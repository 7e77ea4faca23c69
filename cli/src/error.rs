//! What a command can fail with, and the exit code that says so to a script.

use std::{fmt, io, path::PathBuf};

/// A failure of a command, by what its user can do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The command line or the environment asks for something that cannot be.
    #[error("{0}")]
    Usage(String),
    /// A registry wants an identity and there is none for it here.
    #[error("not logged in to {host}: {advice}")]
    NotLoggedIn {
        /// The registry.
        host: String,
        /// What to run next.
        advice: String,
    },
    /// The registry did not accept the identity.
    #[error("{host} refused the login: {reason}")]
    LoginRefused {
        /// The registry.
        host: String,
        /// In the registry's words.
        reason: String,
    },
    /// A registry has people log in as a client that is known as another registry's.
    #[error(
        "not logged in to {host}, and nothing was sent there: it wants a login at {issuer} as the client {client}, which \
         is the one of {others}. What that login gives is good at {others} too, so a registry that is not the same one \
         could use it there in your name.\nIf they are one registry under several names, say so with --shared-client; \
         if not, do not log in, and tell the operator of {others}."
    )]
    ClientOfAnother {
        /// The registry.
        host: String,
        /// The registries that the client is known for.
        others: String,
        /// The issuer that both name.
        issuer: String,
        /// The client that both name.
        client: String,
    },
    /// This machine's provider of identities gave none.
    #[error("cannot get an identity token from {provider}: {reason}")]
    NoIdentityToken {
        /// The provider.
        provider: String,
        /// The cause, and what to do.
        reason: String,
    },
    /// Nothing that speaks the expected protocol answered.
    #[error("cannot reach {host}: {reason}")]
    Unreachable {
        /// The registry.
        host: String,
        /// The cause, and what to try.
        reason: String,
    },
    /// The registry answered, but not with what was asked for.
    #[error("{host} refused {request}: {reason}")]
    Refused {
        /// The registry.
        host: String,
        /// Method and path, or the RPC.
        request: String,
        /// In the registry's words.
        reason: String,
    },
    /// Bytes that came back differ from those that went out.
    #[error("verification failed: {0}")]
    Verification(String),
    /// What was to be tested does not hold; the answer itself was printed.
    #[error("{0}")]
    DoesNotHold(String),
    /// A file of this machine could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// A verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The registry in this process could not start or stopped with an error.
    #[error("{0}")]
    Serve(String),
    /// What cannot happen with input of this program's own making.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// The process exit code: 1 failure, 2 usage (also clap's own), 3 not logged in or refused, 4 unreachable,
    /// 5 the registry refused the request.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Verification(_)
            | Self::DoesNotHold(_)
            | Self::File { .. }
            | Self::Serve(_)
            | Self::Internal(_) => 1,
            Self::Usage(_) => 2,
            Self::NotLoggedIn { .. }
            | Self::LoginRefused { .. }
            | Self::ClientOfAnother { .. }
            | Self::NoIdentityToken { .. } => 3,
            Self::Unreachable { .. } => 4,
            Self::Refused { .. } => 5,
        }
    }

    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    pub(crate) fn internal(cause: impl fmt::Display) -> Self {
        Self::Internal(cause.to_string())
    }
}

/// An error with all its causes on one line, since the outermost of reqwest's says only where, not why.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let next = inner.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = inner.source();
    }
    text
}

/// Text of a server made harmless for a terminal: one line, no control characters, bounded.
pub(crate) fn printable(text: &str) -> String {
    const LONGEST: usize = 500;
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn a_server_cannot_move_the_cursor() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a [2Jb c");
        assert_eq!(printable(&"x".repeat(2_000)).len(), 500);
    }
}
