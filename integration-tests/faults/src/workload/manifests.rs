//! Manifests, indexes, referrers and tags.

use bytes::Bytes;
use rand::Rng as _;
use reqwest::Method;
use roadstead_integration_tests::image::media;
use roadstead_types::Digest;
use serde_json::{Value, json};

use super::client::{Answer, Client, Manifest};
use crate::ledger::{Effect, Key, Outcome};

/// Few, so that they move often.
const TAGS: [&str; 6] = ["latest", "stable", "edge", "v1", "v2", "v3"];

impl Client {
    fn tag(&mut self) -> String {
        TAGS[self.rng.random_range(0..TAGS.len())].to_owned()
    }

    fn descriptor(&self, media_type: &str, digest: &Digest) -> Value {
        json!({ "mediaType": media_type, "digest": digest.as_str(), "size": self.ledger.size(digest) })
    }

    pub(super) async fn push_image(&mut self) {
        let repository = self.repository();
        let Some(manifest) = self.image(&repository) else {
            return;
        };
        self.put(manifest).await;
    }

    /// A manifest over blobs that are surely there.
    fn image(&mut self, repository: &str) -> Option<Value> {
        let config = self.certain_blob(repository)?;
        let layer = self.certain_blob(repository)?;
        for digest in [&config, &layer] {
            self.referenced.insert((repository.to_owned(), digest.clone()));
        }
        // Now and then one that is too large for one page of the database.
        let note = if self.rng.random_ratio(1, 8) { 200_000 } else { 10 };
        Some(json!({
            "schemaVersion": 2, "mediaType": media::MANIFEST,
            "config": self.descriptor(media::CONFIG, &config),
            "layers": [self.descriptor(media::TAR, &layer)],
            "annotations": {
                "test.roadstead.repository": repository,
                "test.roadstead.unique": self.unique().to_string(),
                "test.roadstead.note": "x".repeat(note),
            },
        }))
    }

    pub(super) async fn push_index(&mut self) {
        let Some(child) = self.certain_manifest() else {
            return;
        };
        self.referenced
            .insert((child.repository.clone(), child.digest.clone()));
        let index = json!({
            "schemaVersion": 2, "mediaType": media::INDEX,
            "manifests": [self.descriptor(child.media_type, &child.digest)],
            "annotations": {
                "test.roadstead.repository": child.repository,
                "test.roadstead.unique": self.unique().to_string(),
            },
        });
        self.put(index).await;
    }

    pub(super) async fn push_referrer(&mut self) {
        let Some(subject) = self.certain_manifest() else {
            return;
        };
        let Some(mut manifest) = self.image(&subject.repository) else {
            return;
        };
        manifest["subject"] = self.descriptor(subject.media_type, &subject.digest);
        manifest["artifactType"] = "application/vnd.roadstead.test".into();
        let referrer = Digest::sha256(manifest.to_string().as_bytes());
        self.ledger
            .knows_subject(&subject.repository, &referrer, &subject.digest);
        self.put(manifest).await;
    }

    /// Puts a manifest into the repository that it names, under its digest and some tags or under one tag.
    async fn put(&mut self, manifest: Value) {
        let bytes = Bytes::from(manifest.to_string());
        let digest = Digest::sha256(&bytes);
        self.ledger.knows_content(&digest, bytes.len());
        let repository = manifest["annotations"]["test.roadstead.repository"].as_str();
        let media_type = if manifest["manifests"].is_array() {
            media::INDEX
        } else {
            media::MANIFEST
        };
        let manifest = Manifest {
            repository: repository.unwrap_or_default().to_owned(),
            digest,
            media_type,
            bytes,
        };
        let tags: Vec<String> = match self.rng.random_range(0..4) {
            0 => Vec::new(),
            1 => vec![self.tag(), self.tag(), self.tag()],
            _ => vec![self.tag()],
        };
        if self.put_under(&manifest, tags).await == Outcome::Acknowledged {
            self.remember_manifest(manifest);
        }
    }

    async fn put_under(&mut self, manifest: &Manifest, mut tags: Vec<String>) -> Outcome {
        tags.sort();
        tags.dedup();
        let Manifest {
            repository,
            digest,
            media_type,
            bytes,
        } = manifest;
        let path = if let [tag] = &tags[..] {
            format!("/v2/{repository}/manifests/{tag}")
        } else {
            let query = tags.iter().map(|tag| format!("tag={tag}")).collect::<Vec<_>>();
            format!("/v2/{repository}/manifests/{digest}?{}", query.join("&"))
        };
        let effect = Effect::PushManifest(repository.clone(), digest.clone(), tags);
        let body = Some((*media_type, bytes.clone()));
        self.change(effect, (Method::PUT, &path), body, (201, &[])).await
    }

    pub(super) async fn move_tag(&mut self) {
        if let Some(manifest) = self.certain_manifest() {
            // What it names may have been deleted with another manifest that named it, and then only it holds them.
            let tag = self.tag();
            self.put_under(&manifest, vec![tag]).await;
        }
    }

    pub(super) async fn delete_tag(&mut self) {
        let (repository, tag) = (self.repository(), self.tag());
        let path = format!("/v2/{repository}/manifests/{tag}");
        let is_there = self.ledger.is_certain(&Key::Tag(repository.clone(), tag.clone()));
        let refusals: &[u16] = if is_there { &[] } else { &[404] };
        let effect = Effect::DeleteTag(repository, tag);
        self.change(effect, (Method::DELETE, &path), None, (202, refusals))
            .await;
    }

    pub(super) async fn delete_manifest(&mut self) {
        let Some(Manifest {
            repository, digest, ..
        }) = self.certain_manifest()
        else {
            return;
        };
        let path = format!("/v2/{repository}/manifests/{digest}");
        let is_child = self.referenced.contains(&(repository.clone(), digest.clone()));
        let refusals: &[u16] = if is_child { &[405] } else { &[] };
        let effect = Effect::DeleteManifest(repository, digest);
        self.change(effect, (Method::DELETE, &path), None, (202, refusals))
            .await;
    }

    pub(super) async fn pull_tag(&mut self) {
        let (repository, tag) = (self.repository(), self.tag());
        let path = format!("/v2/{repository}/manifests/{tag}");
        if let Answer::Reply(reply) = self.ask(Method::GET, &path).await {
            let found = (reply.status == 200).then(|| Digest::sha256(&reply.body));
            self.ledger.saw(&Key::Tag(repository, tag), &found);
        }
    }
}
