//! What a manifest says, as far as a registry must understand it (OCI image specification, Docker image manifest v2.2).

use std::collections::BTreeMap;

use roadstead_types::Digest;
use roadstead_types::media_type::{
    DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, OCI_ARTIFACT_MANIFEST, OCI_IMAGE_INDEX, OCI_IMAGE_MANIFEST,
    is_non_distributable,
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::json::Object;

const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+";

/// More than any real manifest names; each costs a look-up while the writer is held.
const MAX_REFERENCES: usize = 10_000;

const KNOWN: [&str; 11] = [
    "schemaVersion",
    "mediaType",
    "config",
    "layers",
    "manifests",
    "blobs",
    "subject",
    "artifactType",
    "annotations",
    "fsLayers",
    "signatures",
];

/// How a manifest uses what it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EdgeKind {
    Config,
    Layer,
    /// A layer that lives elsewhere.
    Foreign,
    /// An entry of an index: a manifest, or a blob (`BuildKit` caches).
    Child,
}

impl EdgeKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Layer => "layer",
            Self::Foreign => "foreign",
            Self::Child => "child",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Edge {
    pub(crate) digest: Digest,
    pub(crate) kind: EdgeKind,
}

/// A manifest that was understood.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub(crate) media_type: String,
    /// Sorted, without duplicates.
    pub(crate) edges: Vec<Edge>,
    pub(crate) subject: Option<Digest>,
    /// As the referrers API shows it: a manifest's own, else its config's media type; an index has only its own.
    pub(crate) artifact_type: Option<String>,
    annotations: BTreeMap<String, String>,
}

/// What a manifest names. It is read as strictly as the manifest itself: a second `Digest` would be the one that other
/// parsers see.
struct Descriptor {
    media_type: Option<String>,
    digest: Digest,
}

impl Descriptor {
    const KNOWN: [&str; 8] = [
        "mediaType",
        "digest",
        "size",
        "urls",
        "annotations",
        "data",
        "platform",
        "artifactType",
    ];

    fn parse(text: &RawValue) -> Result<Self, String> {
        let object = Object::parse(text.get().as_bytes(), &Self::KNOWN)?;
        // Parsed so that a negative or fractional size is refused; nothing here depends on the value.
        let _: u64 = object.get("size")?.ok_or("size: missing")?;
        Ok(Self {
            media_type: object.get("mediaType")?,
            digest: object.get("digest")?.ok_or("digest: missing")?,
        })
    }

    /// The descriptor that a member is.
    fn of(object: &Object<'_>, member: &str) -> Result<Option<Self>, String> {
        let text: Option<Box<RawValue>> = object.get(member)?;
        text.map(|text| Self::parse(&text))
            .transpose()
            .map_err(|error| format!("{member}: {error}"))
    }

    /// The descriptors that a member lists.
    fn list(object: &Object<'_>, member: &str) -> Result<Vec<Self>, String> {
        let texts: Vec<Box<RawValue>> = object.get(member)?.unwrap_or_default();
        if texts.len() > MAX_REFERENCES {
            return Err(too_many());
        }
        texts
            .iter()
            .map(|text| Self::parse(text))
            .collect::<Result<_, _>>()
            .map_err(|error| format!("{member}: {error}"))
    }
}

enum Shape {
    Image,
    Index,
    Artifact,
}

impl Manifest {
    /// Parses `content`, which was pushed as `content_type` (its parameters are ignored; may be empty).
    ///
    /// # Errors
    /// Says what is wrong, for the client to read.
    pub(crate) fn parse(content: &[u8], content_type: &str) -> Result<Self, String> {
        let object = Object::parse(content, &KNOWN)?;
        let media_type = media_type(&object, content_type)?;
        let shape = shape(&object, &media_type)?;
        let mut edges = Vec::new();
        let mut config_type = None;
        match shape {
            Shape::Image => {
                refuse(&object, &["manifests"], "an image manifest")?;
                let config = Descriptor::of(&object, "config")?.ok_or("config: missing")?;
                if !object.has("layers") {
                    return Err("layers: missing".to_owned());
                }
                edges.push(Edge {
                    digest: config.digest,
                    kind: EdgeKind::Config,
                });
                config_type = config.media_type;
                edges.extend(layers(&object, "layers")?);
            }
            Shape::Artifact => edges.extend(layers(&object, "blobs")?),
            Shape::Index => {
                refuse(&object, &["config", "layers"], "an index")?;
                if !object.has("manifests") {
                    return Err("manifests: missing".to_owned());
                }
                let children = Descriptor::list(&object, "manifests")?;
                edges.extend(children.into_iter().map(|child| Edge {
                    digest: child.digest,
                    kind: EdgeKind::Child,
                }));
            }
        }
        if edges.len() > MAX_REFERENCES {
            return Err(too_many());
        }
        edges.sort();
        edges.dedup();
        let subject = Descriptor::of(&object, "subject")?;
        let own_type: Option<String> = object.get("artifactType")?;
        Ok(Self {
            media_type,
            edges,
            subject: subject.map(|subject| subject.digest),
            artifact_type: own_type.filter(|value| !value.is_empty()).or(config_type),
            annotations: object.get("annotations")?.unwrap_or_default(),
        })
    }

    /// The descriptor that the referrers API answers for this manifest, as a JSON object.
    pub(crate) fn referrer_descriptor(&self, digest: &Digest, size: usize) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Referrer<'a> {
            media_type: &'a str,
            digest: &'a str,
            size: usize,
            #[serde(skip_serializing_if = "Option::is_none")]
            artifact_type: Option<&'a str>,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            annotations: &'a BTreeMap<String, String>,
        }
        let referrer = Referrer {
            media_type: &self.media_type,
            digest: digest.as_str(),
            size,
            artifact_type: self.artifact_type.as_deref(),
            annotations: &self.annotations,
        };
        serde_json::to_vec(&referrer).unwrap_or_default()
    }
}

fn media_type(object: &Object<'_>, content_type: &str) -> Result<String, String> {
    let declared = content_type.split(';').next().unwrap_or_default().trim();
    let own: Option<String> = object.get("mediaType")?;
    let own = own.filter(|value| !value.is_empty());
    match (declared, own) {
        ("", Some(own)) => Ok(own),
        ("", None) if object.has("manifests") => Ok(OCI_IMAGE_INDEX.to_owned()),
        ("", None) => Ok(OCI_IMAGE_MANIFEST.to_owned()),
        (declared, Some(own)) if declared != own => Err(format!(
            "the body says mediaType {own:?} but the Content-Type is {declared:?}"
        )),
        (declared, _) => Ok(declared.to_owned()),
    }
}

fn shape(object: &Object<'_>, media_type: &str) -> Result<Shape, String> {
    let version: Option<u64> = object.get("schemaVersion")?;
    if media_type.starts_with(DOCKER_SCHEMA1) || version == Some(1) || object.has("fsLayers") {
        return Err(
            "Docker image manifests of schema 1 are not accepted: push schema 2 or an OCI image".to_owned(),
        );
    }
    let shape = match media_type {
        OCI_IMAGE_MANIFEST | DOCKER_MANIFEST => Shape::Image,
        OCI_IMAGE_INDEX | DOCKER_MANIFEST_LIST => Shape::Index,
        OCI_ARTIFACT_MANIFEST => return Ok(Shape::Artifact),
        other => return Err(format!("the media type {other:?} is not that of a manifest")),
    };
    if version == Some(2) {
        Ok(shape)
    } else {
        Err("schemaVersion: must be 2".to_owned())
    }
}

/// A document that is an image to one client and an index to another (CVE-2021-41190) is neither.
fn refuse(object: &Object<'_>, members: &[&str], what: &str) -> Result<(), String> {
    match members.iter().find(|member| object.has(member)) {
        Some(member) => Err(format!("{what} has no member {member:?}")),
        None => Ok(()),
    }
}

fn too_many() -> String {
    format!("names more than {MAX_REFERENCES} descriptors")
}

fn layers(object: &Object<'_>, member: &str) -> Result<Vec<Edge>, String> {
    Ok(Descriptor::list(object, member)?
        .into_iter()
        .map(|layer| {
            let media_type = layer.media_type.as_deref().unwrap_or_default();
            let foreign = is_non_distributable(media_type);
            let kind = if foreign {
                EdgeKind::Foreign
            } else {
                EdgeKind::Layer
            };
            Edge {
                digest: layer.digest,
                kind,
            }
        })
        .collect())
}

#[cfg(test)]
mod tests;
