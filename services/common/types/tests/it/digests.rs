//! Digests and upload ids.

use proptest::prelude::*;
use roadstead_types::{Digest, DigestAlgorithm, DigestError, UploadId};
use rstest::rstest;

const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn the_digest_of_nothing_is_the_known_one() {
    let digest = Digest::sha256(b"");
    assert_eq!(digest.as_str(), EMPTY);
    assert_eq!(digest.to_string(), EMPTY);
    assert_eq!(digest.encoded(), &EMPTY[7..]);
    assert_eq!(digest.algorithm(), DigestAlgorithm::Sha256);
    let sha512 = Digest::of(DigestAlgorithm::Sha512, b"");
    assert!(
        sha512
            .as_str()
            .starts_with("sha512:cf83e1357eefb8bdf1542850d66d8007")
    );
}

#[rstest]
#[case::empty("", DigestError::Malformed)]
#[case::no_colon("sha256", DigestError::Malformed)]
#[case::unknown("md5:d41d8cd98f00b204e9800998ecf8427e", DigestError::UnsupportedAlgorithm)]
#[case::no_algorithm(":abc", DigestError::UnsupportedAlgorithm)]
#[case::upper_algorithm("SHA256:00", DigestError::UnsupportedAlgorithm)]
#[case::short("sha256:00", DigestError::InvalidEncoding)]
#[case::nothing("sha256:", DigestError::InvalidEncoding)]
#[case::path(
    "sha256:../../../../../../../../../../../../../../../../../../../../../../",
    DigestError::InvalidEncoding
)]
fn what_is_no_digest_is_refused(#[case] text: &str, #[case] error: DigestError) {
    assert_eq!(Digest::parse(text), Err(error));
}

#[test]
fn upper_case_hexadecimal_is_refused() {
    let upper = format!("sha256:{}", EMPTY[7..].to_uppercase());
    assert_eq!(Digest::parse(&upper), Err(DigestError::InvalidEncoding));
}

proptest! {
    #[test]
    fn every_digest_parses_to_itself(content: Vec<u8>, long: bool) {
        let algorithm = if long { DigestAlgorithm::Sha512 } else { DigestAlgorithm::Sha256 };
        let digest = Digest::of(algorithm, &content);
        prop_assert_eq!(Digest::parse(digest.as_str()), Ok(digest.clone()));
        let json = serde_json::to_string(&digest).unwrap();
        prop_assert_eq!(&json, &format!("\"{digest}\""));
        prop_assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
    }

    #[test]
    fn one_wrong_character_spoils_a_digest(index in 7..71_usize, wrong in "[^0-9a-f]") {
        let mut text = EMPTY.to_owned();
        text.replace_range(index..=index, &wrong);
        prop_assert!(Digest::parse(&text).is_err());
    }

    #[test]
    fn any_text_is_a_digest_or_an_error(text in ".{0,200}") {
        if let Ok(digest) = Digest::parse(&text) {
            prop_assert_eq!(digest.as_str(), text);
        }
    }
}

#[test]
fn an_upload_id_has_one_spelling() {
    let id = UploadId::new();
    let text = id.to_string();
    assert_eq!(UploadId::parse(&text), Ok(id));
    assert_ne!(UploadId::new(), id);
    for other in [
        text.to_uppercase(),
        text.replace('-', ""),
        format!("{{{text}}}"),
        format!("urn:uuid:{text}"),
    ] {
        assert!(UploadId::parse(&other).is_err() || other == text, "{other}");
    }
    assert!(UploadId::parse("").is_err());
    assert!(UploadId::parse("../../etc/passwd").is_err());
}
