//! Paths under `/v2/`: which name what, and that none can be made to name something else.

use proptest::prelude::*;
use roadstead_gateway::{
    error::ErrorCode,
    path::{Kind, Target, V2Path},
};
use roadstead_types::{Digest, RepositoryName, UploadId};
use rstest::rstest;

fn name(text: &str) -> RepositoryName {
    RepositoryName::parse(text).unwrap()
}

fn target(path: &str) -> Result<Target, (u16, ErrorCode)> {
    let path = V2Path::cut(path).unwrap_or_else(|| panic!("{path} is under /v2"));
    path.parse(true)
        .map_err(|failure| (failure.status().as_u16(), failure.code()))
}

fn sha256() -> Digest {
    Digest::sha256(b"x")
}

#[rstest]
#[case("/v2/", Kind::Base)]
#[case("/v2", Kind::Base)]
#[case("/v2/_catalog", Kind::Catalog)]
#[case("/v2/a/manifests/latest", Kind::Manifest)]
#[case("/v2/a/b/c/tags/list", Kind::Tags)]
#[case("/v2/a/blobs/uploads/", Kind::Uploads)]
#[case("/v2/a/blobs/uploads", Kind::Uploads)]
#[case("/v2/a/blobs/uploads/x", Kind::Upload)]
#[case("/v2/a/blobs/x", Kind::Blob)]
#[case("/v2/a/referrers/x", Kind::Referrers)]
#[case("/v2/a/manifests/", Kind::Unknown)]
#[case("/v2/a", Kind::Unknown)]
#[case("/v2/manifests/latest", Kind::Unknown)]
#[case("/v2//manifests/latest", Kind::Manifest)]
#[case("/v2/_oci/ext/discover", Kind::Unknown)]
#[case("/v2/_catalog/", Kind::Unknown)]
fn kinds(#[case] path: &str, #[case] kind: Kind) {
    assert_eq!(V2Path::cut(path).unwrap().kind, kind);
}

#[rstest]
#[case("/")]
#[case("/v1/")]
#[case("/v20/a/manifests/b")]
#[case("/v2x")]
fn other_paths_are_not_ours(#[case] path: &str) {
    assert!(V2Path::cut(path).is_none());
}

#[test]
fn names_may_hold_words_of_the_grammar() {
    let digest = sha256();
    assert_eq!(
        target("/v2/a/manifests/manifests/tags/list"),
        Ok(Target::Tags(name("a/manifests/manifests")))
    );
    assert_eq!(
        target("/v2/blobs/uploads/blobs/uploads/"),
        Ok(Target::Uploads(name("blobs/uploads")))
    );
    assert_eq!(
        target(&format!("/v2/a/blobs/uploads/blobs/{digest}")),
        Ok(Target::Blob(name("a/blobs/uploads"), digest))
    );
    let id = UploadId::new();
    assert_eq!(
        target(&format!("/v2/a/blobs/uploads/{id}")),
        Ok(Target::Upload(name("a"), id))
    );
}

#[rstest]
#[case("/v2/A/manifests/latest", 400, ErrorCode::NameInvalid)]
#[case("/v2/a//b/manifests/latest", 400, ErrorCode::NameInvalid)]
#[case("/v2//manifests/latest", 400, ErrorCode::NameInvalid)]
#[case("/v2/a/../b/manifests/latest", 400, ErrorCode::NameInvalid)]
#[case("/v2/a/%2e%2e/b/manifests/latest", 400, ErrorCode::NameInvalid)]
#[case("/v2/a/manifests/sha256:baddigeststring", 400, ErrorCode::DigestInvalid)]
#[case("/v2/a/blobs/sha256:baddigeststring", 400, ErrorCode::DigestInvalid)]
#[case("/v2/a/referrers/x", 400, ErrorCode::DigestInvalid)]
#[case("/v2/a/manifests/.INVALID", 404, ErrorCode::ManifestUnknown)]
#[case("/v2/a/manifests/..", 404, ErrorCode::ManifestUnknown)]
#[case("/v2/a/blobs/uploads/not-a-uuid", 404, ErrorCode::BlobUploadUnknown)]
#[case("/v2/a/blobs/uploads/..", 404, ErrorCode::BlobUploadUnknown)]
#[case("/v2/a%2fb/manifests/latest", 404, ErrorCode::Unsupported)]
#[case("/v2/a%5cb/manifests/latest", 404, ErrorCode::Unsupported)]
#[case("/v2/a/manifests/%252e%252e", 404, ErrorCode::Unsupported)]
#[case("/v2/a/manifests/x%00", 404, ErrorCode::Unsupported)]
#[case("/v2/a/manifests/x%0a", 404, ErrorCode::Unsupported)]
#[case("/v2/a/manifests/%ff", 404, ErrorCode::Unsupported)]
#[case("/v2/_oci/ext/discover", 404, ErrorCode::Unsupported)]
fn refusals(#[case] path: &str, #[case] status: u16, #[case] code: ErrorCode) {
    assert_eq!(target(path), Err((status, code)));
}

#[test]
fn a_write_says_what_is_wrong_with_a_tag() {
    let failure = V2Path::cut("/v2/a/manifests/.INVALID")
        .unwrap()
        .parse(false)
        .unwrap_err();
    assert_eq!(
        (failure.status().as_u16(), failure.code()),
        (400, ErrorCode::NameInvalid)
    );
}

#[test]
fn an_encoded_colon_is_a_colon() {
    let digest = sha256();
    let path = format!("/v2/a/blobs/{}", digest.as_str().replace(':', "%3A"));
    assert_eq!(target(&path), Ok(Target::Blob(name("a"), digest)));
}

proptest! {
    /// Whatever is parsed out of a path can be written back, and is then the path, apart from encoding.
    #[test]
    fn nothing_is_parsed_that_was_not_written(path in "/v2/[a-z0-9A-Z%./_:\\\\-]{0,60}") {
        let Some(cut) = V2Path::cut(&path) else { return Ok(()) };
        let Ok(target) = cut.parse(true) else { return Ok(()) };
        let decoded = percent_encoding::percent_decode_str(&path).decode_utf8().unwrap().into_owned();
        let written = match target {
            Target::Base => "/v2/".to_owned(),
            Target::Catalog => "/v2/_catalog".to_owned(),
            Target::Manifest(name, reference) => format!("/v2/{name}/manifests/{reference}"),
            Target::Blob(name, digest) => format!("/v2/{name}/blobs/{digest}"),
            Target::Uploads(name) => format!("/v2/{name}/blobs/uploads/"),
            Target::Upload(name, id) => format!("/v2/{name}/blobs/uploads/{id}"),
            Target::Tags(name) => format!("/v2/{name}/tags/list"),
            Target::Referrers(name, digest) => format!("/v2/{name}/referrers/{digest}"),
        };
        prop_assert_eq!(written.trim_end_matches('/'), decoded.trim_end_matches('/'));
    }

    #[test]
    fn valid_names_and_tags_come_through(name in "[a-z0-9]{1,5}(/[a-z0-9]{1,5}([._-][a-z0-9]{1,3})?){0,3}", tag in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}") {
        let path = format!("/v2/{name}/manifests/{tag}");
        let Ok(Target::Manifest(parsed, reference)) = target(&path) else { panic!("{path}") };
        prop_assert_eq!(parsed.as_str(), &name);
        prop_assert_eq!(reference.as_str(), &tag);
    }
}
