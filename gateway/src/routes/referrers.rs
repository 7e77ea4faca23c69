//! `/v2/<name>/referrers/<digest>`

use axum::{body::Body, response::Response};
use bytes::BytesMut;
use http::{HeaderName, HeaderValue, header};
use roadstead_proto::metadata::v1::ListReferrersRequest;
use roadstead_types::{Digest, MANIFEST_SIZE_LIMIT, RepositoryName, media_type};

use crate::{
    app::App,
    auth::{Caller, Expiry},
    call::Call,
    error::Failure,
    respond::{self, set},
};

/// Clients compare the type as a whole.
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static(media_type::OCI_IMAGE_INDEX);
const HEAD: &[u8] =
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":["#;
const TAIL: &[u8] = b"]}";
/// Some clients do not follow `Link` and read at most 4 MiB, so a page is as large as that allows. Commas and the frame
/// take the rest: no descriptor is shorter than 100 bytes.
const DESCRIPTOR_BYTES: usize = MANIFEST_SIZE_LIMIT - MANIFEST_SIZE_LIMIT / 100 - 1024;

pub(super) async fn list(
    app: &App,
    call: &Call,
    caller: &Caller<'_>,
    name: &RepositoryName,
    digest: &Digest,
) -> Result<Response, Failure> {
    let query = call.query();
    let artifact_type = query.filled("artifactType");
    // The specification has no `n` here, so 0 is not its empty page.
    let asked = query.page_size()?.filter(|size| *size > 0);
    let request = ListReferrersRequest {
        repository: name.to_string(),
        digest: digest.to_string(),
        access: Some(caller.read(name, Expiry::Refused)?),
        artifact_type: artifact_type.as_deref().unwrap_or_default().to_owned(),
        page_token: query.first("next").unwrap_or_default().into_owned(),
        page_size: asked.unwrap_or(0),
        max_bytes: u32::try_from(DESCRIPTOR_BYTES).unwrap_or(u32::MAX),
    };
    let page = app
        .services
        .read
        .clone()
        .list_referrers(request)
        .await
        .map_err(|status| caller.explain_read(name, status))?
        .into_inner();

    let length: usize = page
        .descriptors
        .iter()
        .map(|descriptor| descriptor.len() + 1)
        .sum();
    let mut body = BytesMut::with_capacity(HEAD.len() + length + TAIL.len());
    body.extend_from_slice(HEAD);
    for (index, descriptor) in page.descriptors.iter().enumerate() {
        if index > 0 {
            body.extend_from_slice(b",");
        }
        body.extend_from_slice(descriptor);
    }
    body.extend_from_slice(TAIL);

    let mut response = Response::new(Body::from(body.freeze()));
    set(&mut response, header::CONTENT_TYPE, CONTENT_TYPE);
    set(
        &mut response,
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    if artifact_type.is_some() {
        let applied = HeaderValue::from_static("artifactType");
        set(
            &mut response,
            HeaderName::from_static("oci-filters-applied"),
            applied,
        );
    }
    if !page.next_page_token.is_empty() {
        let size = asked.map(|size| size.to_string());
        let pairs: Vec<(&str, &str)> = [
            ("artifactType", artifact_type.as_deref()),
            ("n", size.as_deref()),
            ("next", Some(page.next_page_token.as_str())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
        let link = respond::next_link(&format!("/v2/{name}/referrers/{digest}"), &pairs);
        set(&mut response, header::LINK, link);
    }
    Ok(response)
}
