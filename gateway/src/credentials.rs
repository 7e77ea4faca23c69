//! Credentials that come to `/token`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;
use secrecy::SecretString;

/// What a client offers as proof of who it is.
#[derive(Debug)]
pub enum Credential {
    /// Nothing, or the empty user name and password that some clients send for nothing.
    Anonymous,
    /// Something that should be an access token.
    Token(SecretString),
}

/// The header is no credential: another scheme, not base64, or a user name without a password.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

impl Credential {
    /// Reads an `Authorization` header. The user name of Basic says nothing: helpers write `_token`, `<token>` or nothing
    /// there, people write their own name. The password is the token.
    ///
    /// # Errors
    ///
    /// When the header is no credential.
    pub fn parse(line: Option<&HeaderValue>) -> Result<Self, Malformed> {
        let Some(line) = line else {
            return Ok(Self::Anonymous);
        };
        let line = line.to_str().map_err(|_| Malformed)?;
        let (scheme, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Ok(Self::of(rest));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(Malformed);
        }
        let decoded = STANDARD.decode(rest).map_err(|_| Malformed)?;
        let decoded = String::from_utf8(decoded).map_err(|_| Malformed)?;
        match decoded.split_once(':') {
            Some((user, "")) if !user.is_empty() => Err(Malformed),
            Some((_, password)) => Ok(Self::of(password)),
            None if decoded.is_empty() => Ok(Self::Anonymous),
            None => Err(Malformed),
        }
    }

    /// Takes a token as text; nothing is nobody.
    pub fn of(token: &str) -> Self {
        if token.is_empty() {
            Self::Anonymous
        } else {
            Self::Token(SecretString::from(token))
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn parse(line: &str) -> Result<Option<String>, Malformed> {
        Credential::parse(Some(&HeaderValue::from_str(line).unwrap())).map(|credential| match credential {
            Credential::Anonymous => None,
            Credential::Token(token) => Some(token.expose_secret().to_owned()),
        })
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn the_password_is_the_token_whatever_the_user_name() {
        for user in ["_token", "<token>", "alice", ""] {
            assert_eq!(
                parse(&basic(&format!("{user}:ey.j.t"))),
                Ok(Some("ey.j.t".to_owned())),
                "{user}"
            );
        }
        assert_eq!(parse("bearer ey.j.t"), Ok(Some("ey.j.t".to_owned())));
        assert_eq!(parse(&basic("a:b:c")), Ok(Some("b:c".to_owned())));
    }

    #[test]
    fn nothing_is_anonymous() {
        assert!(matches!(Credential::parse(None), Ok(Credential::Anonymous)));
        assert_eq!(parse("Basic Og=="), Ok(None));
        assert_eq!(parse("Basic "), Ok(None));
        assert_eq!(parse("Bearer"), Ok(None));
    }

    #[test]
    fn a_name_alone_is_not_anonymous() {
        assert_eq!(parse(&basic("alice:")), Err(Malformed));
        assert_eq!(parse(&basic("alice")), Err(Malformed));
        assert_eq!(parse("Basic !!"), Err(Malformed));
        assert_eq!(parse("Digest x"), Err(Malformed));
    }
}
