//! Query strings and forms.

use std::{borrow::Cow, fmt};

use http::header;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;
use url::form_urlencoded;

use crate::{
    call::Call,
    error::{ErrorCode, Failure},
};

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

/// What a request says in its query and its body, which is a form or a JSON object.
#[derive(Clone)]
pub struct Parameters<'a> {
    query: Pairs<'a>,
    body: Pairs<'a>,
}

/// In order; empty values count as not given.
type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

impl<'a> Parameters<'a> {
    /// Reads them from a request and the text of its body.
    ///
    /// # Errors
    ///
    /// When the body is said to be JSON and is no object of texts and lists of texts.
    pub fn read(call: &'a Call, body: &'a str) -> Result<Self, Failure> {
        let given = |text: &'a str| {
            form_urlencoded::parse(text.as_bytes())
                .filter(|(_, value)| !value.is_empty())
                .collect()
        };
        let is_json = call
            .header(&header::CONTENT_TYPE)
            .is_some_and(|value| value.trim_start().starts_with("application/json"));
        Ok(Self {
            query: given(call.uri.query().unwrap_or_default()),
            body: if is_json { members(body)? } else { given(body) },
        })
    }

    /// Every value under a name, in order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
        let named = |pairs: &Pairs<'a>| -> Vec<Cow<'a, str>> {
            pairs
                .iter()
                .filter(|(key, _)| key == name)
                .map(|(_, value)| value.clone())
                .collect()
        };
        named(&self.query).into_iter().chain(named(&self.body))
    }

    /// The value under a name that says one thing.
    ///
    /// # Errors
    ///
    /// When it is given twice: two readers could take one each.
    pub fn one(&self, name: &str) -> Result<Option<Cow<'a, str>>, Failure> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Failure::bad_request(
                ErrorCode::Unsupported,
                format!("{name} is given twice; send it once"),
            )),
            (value, None) => Ok(value),
        }
    }

    /// The secret under a name.
    ///
    /// # Errors
    ///
    /// When it is given twice, or in the query, which proxies write into their logs.
    pub fn secret(&self, name: &str) -> Result<Option<Cow<'a, str>>, Failure> {
        if self.query.iter().any(|(key, _)| key == name) {
            return Err(Failure::bad_request(
                ErrorCode::Unsupported,
                format!("{name} is a secret, which must not stand in a URL; send it in the body"),
            ));
        }
        self.one(name)
    }
}

fn members<'a>(body: &str) -> Result<Pairs<'a>, Failure> {
    let unreadable = || {
        let message = "the body is not a JSON object of texts and lists of texts";
        Failure::bad_request(ErrorCode::Unsupported, message)
    };
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let Members(members) = serde_json::from_str(body).map_err(|_| unreadable())?;
    let mut pairs = Vec::new();
    for (name, value) in members {
        let values = match value {
            Value::Array(values) => values,
            value => vec![value],
        };
        for value in values {
            match value {
                Value::String(text) if text.is_empty() => {}
                Value::String(text) => pairs.push((Cow::Owned(name.clone()), Cow::Owned(text))),
                Value::Bool(flag) => pairs.push((Cow::Owned(name.clone()), Cow::Owned(flag.to_string()))),
                Value::Null => {}
                _ => return Err(unreadable()),
            }
        }
    }
    Ok(pairs)
}

/// The members of a JSON object, also those that are there twice.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
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
