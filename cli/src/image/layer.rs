//! Layers: a tar archive, its digest (the diff id), and its compressed form.

use std::io::{self, Write as _};

use flate2::{Compression, GzBuilder};
use roadstead_types::{Digest, media_type};

use super::Content;
use crate::error::Error;

pub(super) struct File {
    path: &'static str,
    mode: u32,
    content: Vec<u8>,
}

impl File {
    pub(super) fn data(path: &'static str, content: Vec<u8>) -> Self {
        Self {
            path,
            mode: 0o644,
            content,
        }
    }

    pub(super) fn program(path: &'static str, content: Vec<u8>) -> Self {
        Self {
            path,
            mode: 0o755,
            content,
        }
    }
}

pub(super) struct Layer {
    pub(super) content: Content,
    /// Of the archive before compression.
    pub(super) diff_id: Digest,
}

impl Layer {
    pub(super) fn build(title: &str, files: &[File]) -> Result<Self, Error> {
        let archive = archive(files).map_err(Error::internal)?;
        let compressed = compress(&archive).map_err(Error::internal)?;
        Ok(Self {
            diff_id: Digest::sha256(&archive),
            content: Content::new(format!("layer {title}"), media_type::OCI_LAYER_GZIP, compressed),
        })
    }
}

fn archive(files: &[File]) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut directories: Vec<&str> = Vec::new();
    for file in files {
        // Parents first, each once, as extractors want them.
        for (end, _) in file.path.match_indices('/') {
            let directory = &file.path[..=end];
            if !directories.contains(&directory) {
                directories.push(directory);
                append(&mut archive, directory, tar::EntryType::Directory, 0o755, &[])?;
            }
        }
        append(
            &mut archive,
            file.path,
            tar::EntryType::Regular,
            file.mode,
            &file.content,
        )?;
    }
    archive.into_inner()
}

/// Appends an entry that tells nothing of the machine or the day: root, 1970.
fn append(
    archive: &mut tar::Builder<Vec<u8>>,
    path: &str,
    entry_type: tar::EntryType,
    mode: u32,
    content: &[u8],
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path)?;
    header.set_entry_type(entry_type);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    header.set_cksum();
    archive.append(&header, content)
}

fn compress(archive: &[u8]) -> io::Result<Vec<u8>> {
    // No time and no operating system in the header.
    let mut encoder = GzBuilder::new()
        .mtime(0)
        .operating_system(255)
        .write(Vec::new(), Compression::default());
    encoder.write_all(archive)?;
    encoder.finish()
}
