//! Private parsers, for the fuzz targets in `integration-tests/fuzz`.

use roadstead_types::Digest;

use crate::domain::{manifest, page};

/// What was understood of a manifest.
#[derive(Debug)]
pub struct Manifest {
    /// Its media type.
    pub media_type: String,
    /// The digests that it names, each with how it is used.
    pub edges: Vec<(&'static str, String)>,
    /// The digest of what it refers to.
    pub subject: Option<String>,
    /// The descriptor of the referrers API.
    pub referrer: Vec<u8>,
}

/// Parses a manifest.
///
/// # Errors
///
/// As the client reads it.
pub fn manifest(content: &[u8], content_type: &str) -> Result<Manifest, String> {
    let manifest = manifest::Manifest::parse(content, content_type)?;
    Ok(Manifest {
        referrer: manifest.referrer_descriptor(&Digest::sha256(content), content.len()),
        edges: manifest
            .edges
            .iter()
            .map(|edge| (edge.kind.as_str(), edge.digest.to_string()))
            .collect(),
        subject: manifest.subject.map(|digest| digest.to_string()),
        media_type: manifest.media_type,
    })
}

/// Writes a page token.
pub fn write_page_token(list: &str, last: &str) -> String {
    page::encode(list, last)
}

/// Reads a page token.
pub fn read_page_token(list: &str, token: &str) -> Option<String> {
    page::decode(list, token)
}
