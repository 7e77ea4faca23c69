//! A small real image for two platforms, the same bytes on every machine.
//!
//! Each platform has three gzip-compressed tar layers: files that both share, a program of its own, and some hundred KiB
//! of text to give the upload something to do. The program is a complete ELF executable, so `docker run` works.

mod layer;
mod program;

use bytes::Bytes;
use roadstead_types::{Digest, media_type};
use serde_json::{Value, json};

use crate::error::Error;
use layer::{File, Layer};

/// Fixed, as the digests must not depend on the day.
const CREATED: &str = "2026-01-01T00:00:00Z";

/// Content with what names it.
#[derive(Debug, Clone)]
pub struct Content {
    /// What it is, for a person.
    pub title: String,
    /// Its type in descriptors, and of manifests also on the wire.
    pub media_type: &'static str,
    /// Of `bytes`.
    pub digest: Digest,
    /// As stored.
    pub bytes: Bytes,
}

impl Content {
    fn new(title: impl Into<String>, media_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            title: title.into(),
            media_type,
            digest: Digest::sha256(&bytes),
            bytes,
        }
    }

    fn json(title: impl Into<String>, media_type: &'static str, value: &Value) -> Result<Self, Error> {
        Ok(Self::new(
            title,
            media_type,
            serde_json::to_vec(value).map_err(Error::internal)?,
        ))
    }

    /// An OCI descriptor.
    fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len() })
    }
}

/// An image index and all that it names.
#[derive(Debug, Clone)]
pub struct Image {
    /// Layers and configurations, each once.
    pub blobs: Vec<Content>,
    /// One manifest for each platform.
    pub manifests: Vec<Content>,
    /// Names the manifests.
    pub index: Content,
}

impl Image {
    /// Builds the image.
    pub fn build() -> Result<Self, Error> {
        let base = Layer::build("base files", &base_files())?;
        let text = Layer::build(
            "text",
            &[File::data(
                "usr/share/roadstead/soundings.txt",
                soundings().into_bytes(),
            )],
        )?;
        let mut blobs = vec![base.content.clone(), text.content.clone()];
        let mut manifests = Vec::new();
        let mut entries = Vec::new();
        for architecture in ["amd64", "arm64"] {
            let program = Layer::build(
                &format!("program {architecture}"),
                &[File::program("hello", program::for_architecture(architecture)?)],
            )?;
            let layers = [&base, &program, &text];
            let config = config(architecture, &layers)?;
            let manifest = manifest(architecture, &config, &layers)?;
            let mut entry = manifest.descriptor();
            entry["platform"] = json!({ "architecture": architecture, "os": "linux" });
            entries.push(entry);
            blobs.extend([program.content, config]);
            manifests.push(manifest);
        }
        let index = json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_IMAGE_INDEX,
            "manifests": entries,
            "annotations": { "org.opencontainers.image.title": "Roadstead quickstart" },
        });
        Ok(Self {
            blobs,
            manifests,
            index: Content::json("index", media_type::OCI_IMAGE_INDEX, &index)?,
        })
    }

    /// The summed size of all content.
    pub fn size(&self) -> usize {
        let all = self.blobs.iter().chain(&self.manifests).chain([&self.index]);
        all.map(|content| content.bytes.len()).sum()
    }
}

fn config(architecture: &str, layers: &[&Layer]) -> Result<Content, Error> {
    let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.diff_id).collect();
    let history: Vec<Value> = layers
        .iter()
        .map(|layer| json!({ "created": CREATED, "created_by": format!("roadstead quickstart: {}", layer.content.title) }))
        .collect();
    let config = json!({
        "created": CREATED,
        "architecture": architecture,
        "os": "linux",
        "config": { "Entrypoint": ["/hello"], "Env": ["PATH=/"], "WorkingDir": "/", "User": "65532:65532" },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
        "history": history,
    });
    Content::json(
        format!("config {architecture}"),
        media_type::OCI_IMAGE_CONFIG,
        &config,
    )
}

fn manifest(architecture: &str, config: &Content, layers: &[&Layer]) -> Result<Content, Error> {
    let layers: Vec<Value> = layers.iter().map(|layer| layer.content.descriptor()).collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_IMAGE_MANIFEST,
        "config": config.descriptor(),
        "layers": layers,
    });
    Content::json(
        format!("manifest {architecture}"),
        media_type::OCI_IMAGE_MANIFEST,
        &manifest,
    )
}

fn base_files() -> Vec<File> {
    vec![
        File::data("etc/passwd", b"nonroot:x:65532:65532:nonroot:/:/hello\n".to_vec()),
        File::data("etc/group", b"nonroot:x:65532:\n".to_vec()),
        File::data(
            "etc/os-release",
            b"ID=roadstead-quickstart\nNAME=\"Roadstead quickstart\"\n".to_vec(),
        ),
    ]
}

/// Text that compresses to about half: depths from a multiplicative generator with a fixed seed.
fn soundings() -> String {
    use std::fmt::Write as _;
    let mut state: u32 = 1;
    let mut text = String::with_capacity(512 * 1024);
    for station in 0..16_384 {
        // Park and Miller's minimal standard, "Random number generators: good ones are hard to find" (1988).
        state = u32::try_from(u64::from(state) * 48_271 % 2_147_483_647).unwrap_or(1);
        let _ = writeln!(
            text,
            "station {station:05} depth {:>7}.{:02} m",
            state / 100 % 10_000_000,
            state % 100
        );
    }
    text
}
