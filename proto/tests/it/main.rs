//! What is generated from the contracts.

use prost::Message as _;
use prost_types::FileDescriptorSet;
use roadstead_proto::{
    DESCRIPTORS,
    auth::v1::{CreatePullTokenResponse, ExchangeRequest, ExchangeResponse, PullToken},
    metadata::v1::ReadAccess,
};

/// Names of fields that sound like a secret and hold none.
const HARMLESS: [&str; 6] = [
    "next_page_token",
    "page_token",
    "pull_token",
    "pull_tokens",
    "token_id",
    "token_type",
];
const SECRET: [&str; 7] = [
    "access_token",
    "client_secret",
    "credential",
    "identity_token",
    "refresh_token",
    "registry_token",
    "token",
];

#[test]
fn every_field_that_sounds_like_a_secret_is_known_to_be_one_or_none() {
    let descriptors = FileDescriptorSet::decode(DESCRIPTORS).expect("the build encoded them");
    let mut seen = 0;
    for message in descriptors.file.iter().flat_map(|file| &file.message_type) {
        for field in &message.field {
            let name = field.name();
            let sounds = ["token", "secret", "password", "credential"]
                .iter()
                .any(|word| name.contains(word));
            if sounds {
                assert!(
                    SECRET.contains(&name) || HARMLESS.contains(&name),
                    "{}.{name}",
                    message.name()
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "the contracts have such fields");
}

#[test]
fn debug_output_holds_no_secret_and_all_else() {
    let request = ExchangeRequest {
        identity_token: "sesame".to_owned(),
        audience: "registry.example".to_owned(),
        ..ExchangeRequest::default()
    };
    let exchanged = ExchangeResponse {
        access_token: "sesame".to_owned(),
        refresh_token: "sesame".to_owned(),
        expires_in: 3600,
        ..ExchangeResponse::default()
    };
    let created = CreatePullTokenResponse {
        pull_token: Some(PullToken {
            id: "ptk_1".to_owned(),
            ..PullToken::default()
        }),
        username: "staging".to_owned(),
        token: "sesame".to_owned(),
    };
    let read = ReadAccess {
        ground: 3,
        registry_token: "sesame".to_owned(),
    };
    let outputs = [
        (format!("{request:?}"), "registry.example"),
        (format!("{exchanged:?}"), "3600"),
        (format!("{created:?}"), "ptk_1"),
        (format!("{read:?}"), "3"),
    ];
    for (output, shown) in outputs {
        assert!(!output.contains("sesame"), "{output}");
        assert!(output.contains(shown) && output.ends_with(".. }"), "{output}");
    }
}
