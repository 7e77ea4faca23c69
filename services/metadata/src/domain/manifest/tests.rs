use serde_json::{Value, json};

use super::*;

fn digest(seed: u8) -> String {
    Digest::sha256(&[seed]).to_string()
}

fn descriptor(media_type: &str, seed: u8) -> Value {
    json!({"mediaType": media_type, "digest": digest(seed), "size": 1})
}

fn image() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE_MANIFEST,
        "config": descriptor("application/vnd.cncf.helm.config.v1+json", 1),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+zstd", 2)],
    })
}

fn parse(value: &Value, content_type: &str) -> Result<Manifest, String> {
    Manifest::parse(value.to_string().as_bytes(), content_type)
}

#[test]
fn an_image_names_its_config_and_layers() {
    let manifest = parse(&image(), OCI_IMAGE_MANIFEST).unwrap();
    let mut kinds: Vec<_> = manifest
        .edges
        .iter()
        .map(|edge| (edge.kind, edge.digest.to_string()))
        .collect();
    kinds.sort();
    assert_eq!(
        kinds,
        [(EdgeKind::Config, digest(1)), (EdgeKind::Layer, digest(2))]
    );
    assert_eq!(
        manifest.artifact_type.as_deref(),
        Some("application/vnd.cncf.helm.config.v1+json")
    );
    assert_eq!(manifest.subject, None);
}

/// Go's parser ignores case and takes the last: a client would pull what the registry does not know to be needed.
#[test]
fn a_descriptor_that_others_read_differently_is_refused() {
    for second in [
        "Digest",
        "DIGEST",
        "digest",
        "\\u0064igest",
        "MediaType",
        "Size",
        "\u{17f}ize",
    ] {
        for member in ["config", "layers", "subject"] {
            let mut manifest = image();
            manifest["subject"] = descriptor(OCI_IMAGE_MANIFEST, 3);
            let with_second = format!("{{\"digest\":\"{}\",\"size\":1,\"{second}\":1}}", digest(9));
            let placeholder = json!("HERE");
            manifest[member] = match member {
                "layers" => json!([placeholder]),
                _ => placeholder,
            };
            let text = manifest.to_string().replace("\"HERE\"", &with_second);
            let error = Manifest::parse(text.as_bytes(), OCI_IMAGE_MANIFEST).unwrap_err();
            assert!(error.starts_with(member), "{member} {second}: {error}");
        }
    }
}

#[test]
fn content_type_parameters_are_ignored_and_a_contradiction_is_refused() {
    assert!(
        parse(
            &image(),
            "application/vnd.oci.image.manifest.v1+json; charset=utf-8"
        )
        .is_ok()
    );
    assert!(parse(&image(), "").is_ok());
    assert!(parse(&image(), DOCKER_MANIFEST).is_err());
    assert!(parse(&image(), "application/json").is_err());
}

#[test]
fn what_real_clients_push_is_accepted() {
    let mut unusual = image();
    unusual["layers"] = Value::Null;
    unusual["annotations"] = Value::Null;
    unusual["subject"] = Value::Null;
    unusual["org.example.custom"] = json!({"deep": [1, {"er": null}]});
    unusual["config"]["data"] = json!("e30=");
    assert!(parse(&unusual, OCI_IMAGE_MANIFEST).is_ok());

    let docker = json!({"schemaVersion": 2, "mediaType": DOCKER_MANIFEST,
        "config": descriptor("application/vnd.docker.container.image.v1+json", 1), "layers": []});
    assert!(parse(&docker, DOCKER_MANIFEST).is_ok());
    for index_type in [OCI_IMAGE_INDEX, DOCKER_MANIFEST_LIST] {
        let index = json!({"schemaVersion": 2, "mediaType": index_type, "manifests": []});
        assert!(parse(&index, index_type).is_ok());
    }
    let artifact =
        json!({"mediaType": OCI_ARTIFACT_MANIFEST, "artifactType": "a/b", "blobs": [descriptor("x/y", 3)]});
    let artifact = parse(&artifact, OCI_ARTIFACT_MANIFEST).unwrap();
    assert_eq!(artifact.edges.len(), 1);
    assert_eq!(artifact.artifact_type.as_deref(), Some("a/b"));
}

#[test]
fn foreign_layers_are_told_apart() {
    for media_type in [
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ] {
        let mut manifest = image();
        manifest["layers"] = json!([descriptor(media_type, 2)]);
        let manifest = parse(&manifest, OCI_IMAGE_MANIFEST).unwrap();
        assert!(
            manifest.edges.iter().any(|edge| edge.kind == EdgeKind::Foreign),
            "{media_type}"
        );
    }
}

#[test]
fn an_index_without_artifact_type_shows_none() {
    let mut index = json!({"schemaVersion": 2, "manifests": [descriptor(OCI_IMAGE_MANIFEST, 1)],
        "subject": descriptor(OCI_IMAGE_MANIFEST, 9)});
    let parsed = parse(&index, OCI_IMAGE_INDEX).unwrap();
    assert_eq!(parsed.artifact_type, None);
    assert_eq!(parsed.subject.unwrap().to_string(), digest(9));
    index["artifactType"] = json!("text/spdx");
    assert_eq!(
        parse(&index, OCI_IMAGE_INDEX).unwrap().artifact_type.as_deref(),
        Some("text/spdx")
    );
}

#[test]
fn schema_1_is_refused_by_name() {
    let schema1 = json!({"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": [], "signatures": []});
    for content_type in [
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "",
        OCI_IMAGE_MANIFEST,
    ] {
        assert!(
            parse(&schema1, content_type).unwrap_err().contains("schema 1"),
            "{content_type}"
        );
    }
}

#[test]
fn ambiguous_or_broken_documents_are_refused() {
    let mut both = image();
    both["manifests"] = json!([]);
    assert!(parse(&both, OCI_IMAGE_MANIFEST).is_err());
    assert!(Manifest::parse(br#"{"schemaVersion":2,"schemaVersion":2}"#, OCI_IMAGE_INDEX).is_err());
    assert!(Manifest::parse(b"not json", OCI_IMAGE_MANIFEST).is_err());
    assert!(Manifest::parse(b"[]", OCI_IMAGE_MANIFEST).is_err());
    for (member, value) in [
        ("config", Value::Null),
        ("layers", json!({})),
        (
            "layers",
            json!([{"mediaType": "x", "digest": "sha256:baddigeststring", "size": 1}]),
        ),
        (
            "layers",
            json!([{"mediaType": "x", "digest": digest(1), "size": -1}]),
        ),
        ("schemaVersion", json!(3)),
        ("annotations", json!({"a": 1})),
        ("Config", json!({})),
    ] {
        let mut manifest = image();
        manifest[member] = value.clone();
        assert!(
            parse(&manifest, OCI_IMAGE_MANIFEST).is_err(),
            "{member} = {value}"
        );
    }
}

#[test]
fn the_referrer_descriptor_copies_annotations() {
    let mut manifest = image();
    manifest["annotations"] = json!({"b": "2", "a": "1"});
    manifest["artifactType"] = json!("application/spdx+json");
    let manifest = parse(&manifest, OCI_IMAGE_MANIFEST).unwrap();
    let own = Digest::sha256(b"x");
    let descriptor: Value = serde_json::from_slice(&manifest.referrer_descriptor(&own, 7)).unwrap();
    assert_eq!(
        descriptor,
        json!({"mediaType": OCI_IMAGE_MANIFEST, "digest": own.to_string(), "size": 7,
            "artifactType": "application/spdx+json", "annotations": {"a": "1", "b": "2"}})
    );
}
