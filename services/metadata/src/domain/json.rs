//! A JSON object read once, with the ambiguities refused that make two parsers see two documents.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Deeper nesting than any manifest needs; what is ignored here may be parsed recursively by whoever pulls it.
const MAX_DEPTH: usize = 64;

/// The members of a JSON object, by name, each unparsed.
#[derive(Debug)]
pub(crate) struct Object<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Object<'a> {
    /// Parses `text` as one object.
    ///
    /// Refuses a member that appears twice, and one that differs only in case from a name in `known`: some parsers take
    /// the first, others the last, others ignore case, and each would see another manifest under the same digest.
    pub(crate) fn parse(text: &'a [u8], known: &[&str]) -> Result<Self, String> {
        check_depth(text)?;
        let object: Object<'a> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let confusable = object.0.keys().find(|key| {
            known
                .iter()
                .any(|name| is_taken_for(key, name) && key.as_str() != *name)
        });
        match confusable {
            Some(key) => Err(format!(
                "the member {key:?} differs only in case from a known one"
            )),
            None => Ok(object),
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Parses a member; `None` when it is absent or null.
    pub(crate) fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, String> {
        let Some(raw) = self.0.get(name) else {
            return Ok(None);
        };
        serde_json::from_str(raw.get()).map_err(|error| format!("{name}: {error}"))
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if members.contains_key(&key) {
                        return Err(A::Error::custom(format!("the member {key:?} appears twice")));
                    }
                    members.insert(key, value);
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// Whether a parser that ignores case takes `key` for `name`. Go's, which most clients are written with, folds two
/// letters into ASCII that are not of it: the long s and the sign of the kelvin.
fn is_taken_for(key: &str, name: &str) -> bool {
    let folded = key.chars().map(|letter| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        letter => letter.to_ascii_lowercase(),
    });
    folded.eq(name.chars().map(|letter| letter.to_ascii_lowercase()))
}

fn check_depth(text: &[u8]) -> Result<(), String> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(format!("nested deeper than {MAX_DEPTH} levels"));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_appears_twice_is_refused() {
        assert!(Object::parse(br#"{"a":1,"b":2}"#, &[]).is_ok());
        assert!(Object::parse(br#"{"a":1,"a":2}"#, &[]).is_err());
        assert!(Object::parse(br#"{"a":1,"\u0061":2}"#, &[]).is_err());
    }

    #[test]
    fn a_member_that_looks_like_a_known_one_is_refused() {
        assert!(Object::parse(br#"{"Layers":[]}"#, &["layers"]).is_err());
        assert!(Object::parse(br#"{"Layers":[]}"#, &["config"]).is_ok());
        assert!(Object::parse("{\"layer\u{17f}\":[]}".as_bytes(), &["layers"]).is_err());
        assert!(Object::parse("{\"bloc\u{212a}\":[]}".as_bytes(), &["block"]).is_err());
        assert!(Object::parse(br#"{"layer":[]}"#, &["layers"]).is_ok());
    }

    #[test]
    fn depth_is_bounded_outside_of_strings() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(64), "]".repeat(64));
        assert!(Object::parse(deep.as_bytes(), &[]).is_err());
        let text = format!("{{\"a\":\"{}\\\"{}\"}}", "[".repeat(99), "{".repeat(99));
        assert!(Object::parse(text.as_bytes(), &[]).is_ok());
    }
}
