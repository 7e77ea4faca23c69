//! The command to try next, after the registry refused one.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::error::printable;

/// What commands are about, by a part of the names of their calls.
const NOUNS: [(&str, &str); 8] = [
    ("PushPolic", "iam push-policy"),
    ("PullToken", "pull-token"),
    ("Group", "iam groups"),
    ("Identit", "iam identities"),
    ("Role", "iam roles"),
    ("Binding", "iam bindings"),
    ("Explain", "iam identities"),
    ("Tag", "repos"),
];

/// What a binding is made of, by the word that the registry says is unknown.
const PARTS: [(&str, &str); 3] = [
    ("identity", "iam identities"),
    ("role", "iam roles"),
    ("group", "iam groups"),
];

/// A sentence with a command, where one would help.
pub(crate) fn next(request: &str, status: &Status) -> Option<String> {
    if status.code() == Code::Unimplemented {
        return Some(
            "Is the registry older than this program? `roadstead version --check` tells.".to_owned(),
        );
    }
    let info = status.get_details_error_info()?;
    let about = |key: &str| {
        let value = info.metadata.get(key).map(|value| printable(value));
        value.filter(|value| !value.is_empty())
    };
    let in_request = NOUNS.iter().find(|(part, _)| request.contains(part));
    let in_words = PARTS.iter().find(|(part, _)| status.message().contains(part));
    let noun = if info.reason == "NOT_FOUND" {
        in_words.or(in_request)
    } else {
        in_request
    };
    let noun = noun.map_or("iam", |(_, noun)| noun);
    Some(match info.reason.as_str() {
        "CAPABILITY_MISSING" | "PERMISSION_MISSING" => {
            let at = about("resource").map_or_else(String::new, |resource| format!(" at {resource}"));
            let capability = about("capability").or_else(|| about("action"))?;
            format!(
                "What you hold: `roadstead auth status`. To be given {capability}{at}, ask whoever may run \
                 `roadstead iam bindings create`."
            )
        }
        "NOT_FOUND" | "REPOSITORY_UNKNOWN" => format!("What there is, as far as you may see it: `roadstead {noun} list`."),
        "ALREADY_EXISTS" => format!("It is there already: `roadstead {noun} list` shows it."),
        "NOT_EMPTY" => format!("Delete what is in it first: `roadstead {noun} list` shows it."),
        "PATH_TOMBSTONED" => {
            "The path was deleted before: `roadstead iam groups create PATH --restore` takes it into use again."
                .to_owned()
        }
        "ROLE_BUILT_IN" => "Make a role of your own: `roadstead iam roles create`.".to_owned(),
        "IDENTITY_INVALID" => "`roadstead iam identities create --help` tells what a rule can be.".to_owned(),
        _ => return None,
    })
}
