//! Real images, small and large: layers, configs, manifests, indexes, and OCI layouts on disk.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rand::{RngCore as _, SeedableRng as _};
use roadstead_types::{Digest, DigestAlgorithm};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Media types that tests push.
pub mod media {
    /// An OCI image or artifact manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An OCI index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An OCI image configuration.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// The empty configuration `{}`.
    pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
    /// A plain layer.
    pub const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
    /// A gzip layer.
    pub const TAR_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// A zstd layer.
    pub const TAR_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// A layer that may not be pushed.
    pub const FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
}

/// A layer in memory.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The media type.
    pub media_type: &'static str,
    /// The bytes as pushed.
    pub bytes: Vec<u8>,
    /// The digest of the uncompressed archive.
    pub diff_id: Digest,
}

impl Layer {
    /// A gzip layer with one file.
    pub fn gzip(path: &str, content: &[u8]) -> Result<Self> {
        let archive = archive(path, content)?;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&archive)?;
        Ok(Self {
            media_type: media::TAR_GZIP,
            bytes: encoder.finish()?,
            diff_id: sha256(&archive),
        })
    }

    /// A zstd layer with one file.
    pub fn zstd(path: &str, content: &[u8]) -> Result<Self> {
        let archive = archive(path, content)?;
        Ok(Self {
            media_type: media::TAR_ZSTD,
            bytes: zstd_stored(&archive)?,
            diff_id: sha256(&archive),
        })
    }

    /// The layer's descriptor.
    pub fn descriptor(&self) -> Value {
        descriptor(self.media_type, &self.bytes)
    }
}

/// A manifest and the blobs that it names, in memory.
#[derive(Clone, Debug)]
pub struct Image {
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// The configuration, then the layers.
    pub blobs: Vec<Vec<u8>>,
}

impl Image {
    /// An image for `linux/<architecture>`.
    pub fn new(architecture: &str, layers: &[Layer]) -> Result<Self> {
        let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id.to_string()).collect();
        let config = serde_json::to_vec(&json!({
            "architecture": architecture, "os": "linux", "config": {},
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        }))?;
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2, "mediaType": media::MANIFEST,
            "config": descriptor(media::CONFIG, &config),
            "layers": layers.iter().map(Layer::descriptor).collect::<Vec<_>>(),
        }))?;
        let blobs = std::iter::once(config)
            .chain(layers.iter().map(|layer| layer.bytes.clone()))
            .collect();
        Ok(Self { manifest, blobs })
    }

    /// A one-layer image whose content depends on `seed` alone.
    pub fn small(seed: &str) -> Result<Self> {
        Self::new("amd64", &[Layer::gzip("etc/seed", seed.as_bytes())?])
    }

    /// The manifest's digest.
    pub fn digest(&self) -> Digest {
        sha256(&self.manifest)
    }

    /// The manifest's descriptor in an index, for `linux/<architecture>`.
    pub fn descriptor_for(&self, architecture: &str) -> Value {
        let mut descriptor = descriptor(media::MANIFEST, &self.manifest);
        descriptor["platform"] = json!({ "os": "linux", "architecture": architecture });
        descriptor
    }
}

/// An index over the given descriptors.
pub fn index(children: &[Value]) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(
        &json!({ "schemaVersion": 2, "mediaType": media::INDEX, "manifests": children }),
    )?)
}

/// An artifact manifest with the empty configuration; `annotation` makes it unique or large.
pub fn artifact(artifact_type: &str, subject: Option<Value>, annotation: &str) -> Result<Vec<u8>> {
    let empty = descriptor(media::EMPTY, b"{}");
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": media::MANIFEST, "artifactType": artifact_type,
        "config": empty, "layers": [empty], "annotations": { "test.roadstead.note": annotation },
    });
    if let Some(subject) = subject {
        manifest["subject"] = subject;
    }
    Ok(serde_json::to_vec(&manifest)?)
}

/// A descriptor of `bytes`.
pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "size": bytes.len(), "digest": sha256(bytes).to_string() })
}

/// The sha256 digest of `bytes`.
pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(DigestAlgorithm::Sha256, bytes)
}

/// `length` bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    rand::rngs::SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// An OCI image layout on disk, as skopeo, crane, oras, podman and buildah read it.
#[derive(Debug)]
pub struct Layout {
    directory: PathBuf,
    tagged: Vec<Value>,
}

impl Layout {
    /// A new layout in `directory`, which is made.
    pub fn create(directory: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(directory.join("blobs/sha256"))?;
        std::fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(Self {
            directory,
            tagged: Vec::new(),
        })
    }

    /// Where the layout is.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Adds one image and names it `tag`.
    pub fn add_image(&mut self, tag: &str, image: &Image) -> Result<()> {
        self.add_content(image)?;
        self.name(tag, descriptor(media::MANIFEST, &image.manifest))
    }

    /// Adds an index over images for the given architectures and names it `tag`.
    pub fn add_index(&mut self, tag: &str, images: &[(&str, &Image)]) -> Result<Digest> {
        let mut children = Vec::new();
        for (architecture, image) in images {
            self.add_content(image)?;
            children.push(image.descriptor_for(architecture));
        }
        let bytes = index(&children)?;
        self.add_blob(&bytes)?;
        self.name(tag, descriptor(media::INDEX, &bytes))?;
        Ok(sha256(&bytes))
    }

    /// Adds an image whose only layer is the archive at `layer`, which moves into the layout, and names it `tag`.
    pub fn add_large(&mut self, tag: &str, layer: &LargeLayer) -> Result<Digest> {
        let config = serde_json::to_vec(&json!({
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": { "type": "layers", "diff_ids": [layer.digest.to_string()] },
        }))?;
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2, "mediaType": media::MANIFEST, "config": descriptor(media::CONFIG, &config),
            "layers": [{ "mediaType": media::TAR, "size": layer.size, "digest": layer.digest.to_string() }],
        }))?;
        std::fs::hard_link(&layer.path, self.blob_path(&layer.digest))
            .context("link the layer into the layout")?;
        self.add_blob(&config)?;
        self.add_blob(&manifest)?;
        self.name(tag, descriptor(media::MANIFEST, &manifest))?;
        Ok(sha256(&manifest))
    }

    fn add_content(&self, image: &Image) -> Result<()> {
        image
            .blobs
            .iter()
            .chain([&image.manifest])
            .try_for_each(|blob| self.add_blob(blob))
    }

    fn add_blob(&self, bytes: &[u8]) -> Result<()> {
        std::fs::write(self.blob_path(&sha256(bytes)), bytes).context("write a blob into the layout")
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.directory.join("blobs/sha256").join(digest.encoded())
    }

    fn name(&mut self, tag: &str, mut descriptor: Value) -> Result<()> {
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        self.tagged.push(descriptor);
        std::fs::write(self.directory.join("index.json"), index(&self.tagged)?)
            .context("write the layout's index")
    }
}

/// A plain archive on disk, too large for memory.
#[derive(Debug)]
pub struct LargeLayer {
    /// Where it lies.
    pub path: PathBuf,
    /// Its digest, which is its diff id as well.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl LargeLayer {
    /// Writes an archive with one file of `content_bytes` bytes that do not compress.
    pub fn write(path: PathBuf, content_bytes: u64) -> Result<Self> {
        let mut archive = tar::Builder::new(Hashing::new(BufWriter::new(File::create(&path)?)));
        archive.append_data(&mut header(content_bytes), "large.bin", Noise::of(content_bytes))?;
        let mut hashing = archive.into_inner()?;
        hashing.inner.flush()?;
        let digest =
            Digest::parse(&format!("sha256:{}", hex(&hashing.hash.finalize()))).context("our own digest")?;
        Ok(Self {
            path,
            digest,
            size: hashing.written,
        })
    }
}

struct Hashing<W> {
    inner: W,
    hash: Sha256,
    written: u64,
}

impl<W: Write> Hashing<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            written: 0,
        }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// Random bytes at memory speed: one block of noise again and again, each time with its number in front, so that no two
/// are alike and a compressor's window, which is shorter than the block, finds nothing.
struct Noise {
    block: Vec<u8>,
    at: usize,
    number: u64,
    left: u64,
}

impl Noise {
    const BLOCK: usize = 1 << 20;

    fn of(length: u64) -> Self {
        Self {
            block: noise(length, Self::BLOCK),
            at: 0,
            number: 0,
            left: length,
        }
    }
}

impl std::io::Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.block.len() {
            self.number += 1;
            self.block[..8].copy_from_slice(&self.number.to_le_bytes());
            self.at = 0;
        }
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let count = buffer.len().min(self.block.len() - self.at).min(left);
        buffer[..count].copy_from_slice(&self.block[self.at..self.at + count]);
        self.at += count;
        self.left -= count as u64;
        Ok(count)
    }
}

fn archive(path: &str, content: &[u8]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header(content.len() as u64), path, content)?;
    Ok(archive.into_inner()?)
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header
}

/// A zstd frame (RFC 8878) whose blocks are stored raw: valid for every decoder, made without a compressor.
fn zstd_stored(content: &[u8]) -> Result<Vec<u8>> {
    const MAGIC: u32 = 0xFD2F_B528;
    /// Single segment, content size in four bytes.
    const DESCRIPTOR: u8 = 0b1010_0000;
    const LARGEST_BLOCK: usize = 128 * 1024;

    let mut frame = Vec::with_capacity(content.len() + 64);
    frame.extend_from_slice(&MAGIC.to_le_bytes());
    frame.push(DESCRIPTOR);
    frame.extend_from_slice(
        &u32::try_from(content.len())
            .context("too large for this frame")?
            .to_le_bytes(),
    );
    // With a single segment the window is the content, and no block may exceed it.
    let mut blocks = content.chunks(LARGEST_BLOCK).peekable();
    while let Some(block) = blocks.next() {
        let last = u32::from(blocks.peek().is_none());
        let block_header = last | (u32::try_from(block.len()).context("block size")? << 3);
        frame.extend_from_slice(&block_header.to_le_bytes()[..3]);
        frame.extend_from_slice(block);
    }
    Ok(frame)
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}
