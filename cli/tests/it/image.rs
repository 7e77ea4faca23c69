use std::{collections::HashMap, io::Read as _};

use flate2::read::GzDecoder;
use roadstead_cli::image::{Content, Image};
use roadstead_types::Digest;
use serde_json::Value;

fn parsed(content: &Content) -> Value {
    serde_json::from_slice(&content.bytes).unwrap()
}

fn decompressed(content: &Content) -> Vec<u8> {
    let mut archive = Vec::new();
    GzDecoder::new(&content.bytes[..])
        .read_to_end(&mut archive)
        .unwrap();
    archive
}

/// Finds what a descriptor names, and checks that it says the truth.
fn described<'a>(image: &'a Image, descriptor: &Value) -> &'a Content {
    let all = image.blobs.iter().chain(&image.manifests);
    let content = all
        .into_iter()
        .find(|content| content.digest.as_str() == descriptor["digest"])
        .unwrap();
    assert_eq!(descriptor["mediaType"], content.media_type);
    assert_eq!(descriptor["size"], content.bytes.len());
    content
}

#[test]
fn every_build_gives_the_same_bytes() {
    let (one, other) = (Image::build().unwrap(), Image::build().unwrap());
    assert_eq!(one.index.bytes, other.index.bytes);
    let digests = |image: &Image| {
        image
            .blobs
            .iter()
            .map(|blob| blob.digest.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(digests(&one), digests(&other));
}

#[test]
fn digests_and_descriptors_hold_from_index_to_file() {
    let image = Image::build().unwrap();
    for content in image.blobs.iter().chain(&image.manifests).chain([&image.index]) {
        assert_eq!(
            Digest::sha256(&content.bytes),
            content.digest,
            "{}",
            content.title
        );
    }
    let mut named: HashMap<String, usize> = HashMap::new();
    let index = parsed(&image.index);
    let mut architectures = Vec::new();
    for entry in index["manifests"].as_array().unwrap() {
        let manifest = parsed(described(&image, entry));
        let config = parsed(described(&image, &manifest["config"]));
        *named.entry(manifest["config"]["digest"].to_string()).or_default() += 1;
        assert_eq!(entry["platform"]["os"], config["os"]);
        assert_eq!(entry["platform"]["architecture"], config["architecture"]);
        architectures.push(config["architecture"].clone());
        let layers = manifest["layers"].as_array().unwrap();
        let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
        assert!(layers.len() > 1);
        assert_eq!(layers.len(), diff_ids.len());
        assert_eq!(layers.len(), config["history"].as_array().unwrap().len());
        for (layer, diff_id) in layers.iter().zip(diff_ids) {
            let archive = decompressed(described(&image, layer));
            assert_eq!(*diff_id, Digest::sha256(&archive).as_str());
            *named.entry(layer["digest"].to_string()).or_default() += 1;
        }
    }
    assert_eq!(architectures, ["amd64", "arm64"]);
    assert_eq!(
        named.len(),
        image.blobs.len(),
        "each blob is named, and none twice in the image"
    );
    assert!(
        named.values().any(|count| *count == 2),
        "the platforms share layers"
    );
}

#[test]
fn the_program_is_in_its_layer_and_executable() {
    let image = Image::build().unwrap();
    for architecture in ["amd64", "arm64"] {
        let title = format!("layer program {architecture}");
        let layer = image.blobs.iter().find(|blob| blob.title == title).unwrap();
        let archive = decompressed(layer);
        let mut archive = tar::Archive::new(&archive[..]);
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap().to_str(), Some("hello"));
        assert_eq!(entry.header().mode().unwrap(), 0o755);
        let mut program = Vec::new();
        entry.read_to_end(&mut program).unwrap();
        assert!(program.starts_with(b"\x7fELF"));
    }
}
