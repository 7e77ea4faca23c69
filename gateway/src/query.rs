//! Query strings and forms.

use std::borrow::Cow;

use url::form_urlencoded;

use crate::error::{ErrorCode, Failure};

/// The pairs of a query string or of an `application/x-www-form-urlencoded` body.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// Wraps the encoded text.
    pub const fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The first value under a name.
    pub fn first(self, name: &str) -> Option<Cow<'a, str>> {
        self.all(name).next()
    }

    /// The first value under a name, unless it is empty.
    pub fn filled(self, name: &str) -> Option<Cow<'a, str>> {
        self.first(name).filter(|value| !value.is_empty())
    }

    /// Every value under a name, in order.
    pub fn all(self, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
        form_urlencoded::parse(self.0.as_bytes())
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// The page size that the client asks for with `n`.
    ///
    /// # Errors
    ///
    /// When `n` is not a number.
    pub fn page_size(self) -> Result<Option<u32>, Failure> {
        let Some(text) = self.filled("n") else {
            return Ok(None);
        };
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            // Any number is a wish for at most that many; what does not fit is more than any page has.
            return Ok(Some(text.parse().unwrap_or(u32::MAX)));
        }
        Err(Failure::bad_request(
            ErrorCode::Unsupported,
            format!("n={text:?} is not a number; leave it out or use n=100"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_and_keeps_order() {
        let query = Query::new("tag=a&mount=sha256%3Aab&tag=b+c&from=t/ctr");
        assert_eq!(query.first("mount").as_deref(), Some("sha256:ab"));
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b c"]);
        assert_eq!(query.first("from").as_deref(), Some("t/ctr"));
        assert_eq!(query.first("digest"), None);
    }

    #[test]
    fn page_sizes() {
        assert_eq!(Query::new("").page_size().unwrap(), None);
        assert_eq!(Query::new("n=").page_size().unwrap(), None);
        assert_eq!(Query::new("n=0").page_size().unwrap(), Some(0));
        assert_eq!(
            Query::new("n=99999999999999").page_size().unwrap(),
            Some(u32::MAX)
        );
        assert!(Query::new("n=-1").page_size().is_err());
        assert!(Query::new("n=ten").page_size().is_err());
    }
}
