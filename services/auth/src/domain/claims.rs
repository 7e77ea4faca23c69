//! Claims of upstream tokens, and texts that they are held against.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Pattern, PatternError, Patterns};

/// Longer texts are not carried in tokens, and so match nothing anywhere.
pub(crate) const CLAIM_LIMIT: usize = 256;

/// The claims of a verified upstream token.
pub(crate) type Claims = BTreeMap<String, Value>;

/// A text as a rule gives it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Text {
    Exact(String),
    Pattern(String),
}

impl Text {
    pub(crate) fn matches(&self, text: &str, patterns: &Patterns) -> bool {
        match self {
            Self::Exact(exact) => exact == text,
            Self::Pattern(pattern) => patterns.matches(pattern, text),
        }
    }

    pub(crate) fn exact(&self) -> Option<&str> {
        match self {
            Self::Exact(exact) => Some(exact),
            Self::Pattern(_) => None,
        }
    }

    /// Whether it could be any text.
    pub(crate) fn says_nothing(&self) -> Result<bool, PatternError> {
        match self {
            Self::Exact(_) => Ok(false),
            Self::Pattern(pattern) => Ok(Pattern::parse(pattern)?.matches_anything()),
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(exact) => write!(f, "{exact:?}"),
            Self::Pattern(pattern) => write!(f, "a text that matches {pattern:?}"),
        }
    }
}

/// A claim that a token must have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Condition {
    pub(crate) claim: String,
    #[serde(flatten)]
    pub(crate) text: Text,
}

impl Condition {
    pub(crate) fn holds(&self, claims: &Claims, patterns: &Patterns) -> bool {
        claims
            .get(&self.claim)
            .is_some_and(|value| has(value, &self.text, patterns))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the claim {} as {}", self.claim, self.text)
    }
}

/// Whether a claim is the text, or a list that contains it.
fn has(claim: &Value, text: &Text, patterns: &Patterns) -> bool {
    let is = |value: &Value| text_of(value).is_some_and(|found| text.matches(&found, patterns));
    match claim {
        Value::Array(members) => members.iter().any(is),
        scalar => is(scalar),
    }
}

/// Returns a scalar as rules write it. Issuers differ in whether `true` and `"true"` are the same.
pub(crate) fn text_of(value: &Value) -> Option<Cow<'_, str>> {
    let text = match value {
        Value::String(text) => Cow::Borrowed(text.as_str()),
        Value::Bool(flag) => Cow::Owned(flag.to_string()),
        Value::Number(number) => Cow::Owned(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    (text.len() <= CLAIM_LIMIT).then_some(text)
}

/// The only audience of a token; none when there are several.
pub(crate) fn audience(claims: &Claims) -> Option<&str> {
    match claims.get("aud")? {
        Value::String(audience) => Some(audience),
        Value::Array(audiences) => match audiences.as_slice() {
            [Value::String(audience)] => Some(audience),
            _ => None,
        },
        _ => None,
    }
}

/// A claim as an explanation shows it.
pub(crate) fn shown(claims: &Claims, name: &str) -> String {
    match claims.get(name) {
        None => "absent".to_owned(),
        Some(Value::Array(members)) => {
            let texts: Vec<_> = members.iter().filter_map(text_of).take(8).collect();
            format!("one of {texts:?}")
        }
        Some(value) => text_of(value).map_or_else(|| "no plain text".to_owned(), |text| format!("{text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::equal(json!("production"), true)]
    #[case::other(json!("staging"), false)]
    #[case::member(json!(["staging", "production"]), true)]
    #[case::no_member(json!(["staging"]), false)]
    #[case::null(json!(null), false)]
    #[case::object(json!({"production": "production"}), false)]
    fn a_condition_wants_a_text_or_a_list_with_it(#[case] value: Value, #[case] holds: bool) {
        let patterns = Patterns::default();
        let claims = Claims::from([("environment".to_owned(), value)]);
        for text in [
            Text::Exact("production".to_owned()),
            Text::Pattern("prod.*".to_owned()),
        ] {
            let condition = Condition {
                claim: "environment".to_owned(),
                text,
            };
            assert_eq!(condition.holds(&claims, &patterns), holds);
            assert!(!condition.holds(&Claims::new(), &patterns));
        }
    }

    #[test]
    fn numbers_and_flags_are_texts_and_long_texts_are_none() {
        assert_eq!(text_of(&json!(true)).as_deref(), Some("true"));
        assert_eq!(text_of(&json!(42)).as_deref(), Some("42"));
        assert!(text_of(&json!("x".repeat(256))).is_some());
        assert!(text_of(&json!("x".repeat(257))).is_none());
    }

    #[test]
    fn a_condition_is_stored_flat() {
        let condition = Condition {
            claim: "ref".to_owned(),
            text: Text::Pattern("refs/tags/.*".to_owned()),
        };
        let json = serde_json::to_value(&condition).unwrap();
        assert_eq!(json, json!({"claim": "ref", "pattern": "refs/tags/.*"}));
        assert_eq!(serde_json::from_value::<Condition>(json).unwrap(), condition);
    }

    #[test]
    fn only_a_single_audience_is_one() {
        let of = |aud| audience(&Claims::from([("aud".to_owned(), aud)])).map(str::to_owned);
        assert_eq!(of(json!("a")).as_deref(), Some("a"));
        assert_eq!(of(json!(["a"])).as_deref(), Some("a"));
        assert_eq!(of(json!(["a", "b"])), None);
        assert_eq!(of(json!(1)), None);
    }
}
