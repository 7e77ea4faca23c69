//! Which claims of an upstream token go along in ours.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::domain::{CLAIM_LIMIT, Condition, Patterns, text_of};

/// All claims together, so that a token fits into a header.
const TOTAL_LIMIT: usize = 6 * 1024;
const LIST_LIMIT: usize = 32;

/// Times and hashes of the token itself, and what has a place of its own.
const LEFT_OUT: [&str; 9] = [
    "iss", "sub", "exp", "iat", "nbf", "jti", "nonce", "at_hash", "c_hash",
];

/// Returns the claims to carry: texts, numbers and flags that are not too long, and lists of such. First come the audience
/// and those that `wanted` looks at, then others for as long as there is room. Of a long list the members that are wanted
/// are kept first: group lists can be longer than a token may be.
pub(super) fn carried(
    claims: &Map<String, Value>,
    wanted: &[Condition],
    patterns: &Patterns,
) -> BTreeMap<String, Value> {
    let named = wanted.iter().map(|condition| condition.claim.as_str());
    let names = std::iter::once("aud")
        .chain(named)
        .chain(claims.keys().map(String::as_str))
        .filter(|name| !LEFT_OUT.contains(name));
    let (mut kept, mut room) = (BTreeMap::new(), TOTAL_LIMIT);
    for name in names {
        if kept.contains_key(name) || name.len() > CLAIM_LIMIT {
            continue;
        }
        let Some(value) = claims
            .get(name)
            .and_then(|value| small(name, value, wanted, patterns))
        else {
            continue;
        };
        // As it is written, with quotes, a colon and a comma.
        let size = name.len() + value.to_string().len() + 4;
        if size <= room {
            room -= size;
            kept.insert(name.to_owned(), value);
        }
    }
    kept
}

/// The value, or what of it can be carried.
fn small(name: &str, value: &Value, wanted: &[Condition], patterns: &Patterns) -> Option<Value> {
    let Value::Array(members) = value else {
        return text_of(value).map(|_| value.clone());
    };
    let is_wanted = |text: &str| {
        wanted
            .iter()
            .any(|condition| condition.claim == name && condition.text.matches(text, patterns))
    };
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    for member in members {
        match text_of(member) {
            Some(text) if is_wanted(&text) => first.push(member.clone()),
            Some(_) => rest.push(member.clone()),
            None => {}
        }
    }
    first.append(&mut rest);
    first.truncate(LIST_LIMIT);
    (!first.is_empty()).then_some(Value::Array(first))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::domain::Text;

    fn keep(claims: &Value, wanted: &[Condition]) -> BTreeMap<String, Value> {
        carried(claims.as_object().unwrap(), wanted, &Patterns::default())
    }

    fn want(claim: &str, text: &str) -> Condition {
        Condition {
            claim: claim.to_owned(),
            text: Text::Exact(text.to_owned()),
        }
    }

    #[test]
    fn what_is_small_is_carried_and_what_is_of_the_token_is_not() {
        let claims = json!({
            "iss": "https://issuer.example", "sub": "ci", "aud": "roadstead", "exp": 1, "iat": 1, "nbf": 1, "jti": "x",
            "nonce": "n", "ref": "refs/heads/main", "run": 7, "protected": true, "nothing": null,
            "nested": { "a": 1 }, "groups": ["a", { "b": 1 }, 2], "long": "x".repeat(257), "empty": [],
        });
        assert_eq!(
            json!(keep(&claims, &[])),
            json!({
                "aud": "roadstead", "ref": "refs/heads/main", "run": 7, "protected": true, "groups": ["a", 2],
            })
        );
    }

    #[test]
    fn wanted_members_of_a_long_list_come_first() {
        let groups: Vec<String> = (0..200).map(|index| format!("g{index}")).collect();
        let kept = keep(&json!({ "groups": groups }), &[want("groups", "g199")]);
        let list = kept["groups"].as_array().unwrap();
        assert_eq!(list.len(), 32);
        assert_eq!(list[0], "g199");
    }

    #[test]
    fn wanted_claims_are_carried_before_others() {
        let mut claims: Map<String, Value> = (0..100)
            .map(|index| (format!("a{index:03}"), json!("x".repeat(200))))
            .collect();
        let zone = "z".repeat(200);
        claims.insert("zone".to_owned(), json!(zone));
        claims.insert("aud".to_owned(), json!("roadstead"));
        let claims = Value::Object(claims);
        assert!(!keep(&claims, &[]).contains_key("zone"));
        let kept = keep(&claims, &[want("zone", "another")]);
        assert_eq!((&kept["zone"], &kept["aud"]), (&json!(zone), &json!("roadstead")));
    }

    proptest! {
        #[test]
        fn nothing_is_carried_that_was_not_said_and_never_too_much(
            claims in prop::collection::btree_map("[a-z]{1,12}", "[ -~]{0,300}", 0..60),
            list in prop::collection::vec("[a-z]{0,40}", 0..80),
        ) {
            let mut map: Map<String, Value> = claims.into_iter().map(|(name, text)| (name, json!(text))).collect();
            map.insert("list".to_owned(), json!(list));
            let kept = carried(&map, &[], &Patterns::default());
            let written = serde_json::to_string(&kept).unwrap();
            prop_assert!(written.len() <= TOTAL_LIMIT + 2);
            for (name, value) in &kept {
                match value {
                    Value::Array(members) => {
                        let all = map[name].as_array().unwrap();
                        prop_assert!(members.iter().all(|member| all.contains(member)));
                    }
                    scalar => prop_assert_eq!(scalar, &map[name]),
                }
            }
        }
    }
}
