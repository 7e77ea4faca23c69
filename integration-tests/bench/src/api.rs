//! A peer as a client sees it who is in no hurry: fills it, and checks what it answers.

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use roadstead_integration_tests::image::{media, sha256};
use roadstead_integration_tests::registry::{Credential, Registry, Reply, Request, with_query};
use roadstead_types::Digest;

use crate::cases::Target;
use crate::content::{Content, IMAGE};
use crate::load::ACCEPT;
use crate::peer::permissions;

/// A peer and the `Authorization` that it wants.
#[derive(Debug)]
pub(crate) struct Api {
    registry: Registry,
    authorization: Option<String>,
}

impl Api {
    pub(crate) fn new(port: u16, authorization: Option<String>) -> Result<Self> {
        let registry = Registry::new(&format!("http://127.0.0.1:{port}"), Credential::None)?;
        Ok(Self {
            registry,
            authorization,
        })
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> Request {
        let request = self.registry.request(method, path);
        match &self.authorization {
            Some(value) => request.header("authorization", value),
            None => request,
        }
    }

    pub(crate) async fn push_blob(&self, repository: &str, bytes: &[u8]) -> Result<()> {
        let path = format!("/v2/{repository}/blobs/uploads/");
        let location = self
            .request(Method::POST, &path)
            .send()
            .await?
            .expect(202)?
            .location()?;
        let path = with_query(&location, "digest", sha256(bytes).as_str());
        let request = self.request(Method::PUT, &path).body(bytes.to_vec());
        request.send().await?.expect(201).map(drop)
    }

    pub(crate) async fn push_manifest(
        &self,
        repository: &str,
        reference: &str,
        content: &Content,
    ) -> Result<()> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let request = self
            .request(Method::PUT, &path)
            .header("content-type", media::MANIFEST)
            .body(content.manifest.clone());
        request.send().await?.expect(201).map(drop)
    }

    /// Pushes the image whole.
    pub(crate) async fn push_image(&self, repository: &str, tag: &str, content: &Content) -> Result<()> {
        for blob in [&content.config[..], &content.small, &content.large] {
            self.push_blob(repository, blob).await?;
        }
        self.push_manifest(repository, tag, content).await
    }

    /// Names what the repository of the image has already; needs no bytes.
    pub(crate) async fn mount_image(&self, repository: &str, tag: &str, content: &Content) -> Result<()> {
        for blob in [&content.config[..], &content.small, &content.large] {
            let digest = sha256(blob);
            let path = format!("/v2/{repository}/blobs/uploads/?mount={digest}&from={IMAGE}");
            self.request(Method::POST, &path).send().await?.expect(201)?;
        }
        self.push_manifest(repository, tag, content).await
    }

    /// Asks for a target and checks every byte; gives the body's length where it is always the same.
    pub(crate) async fn check(&self, content: &Content, target: Target, path: &str) -> Result<Option<u64>> {
        let method = match target {
            Target::Exchange => Method::POST,
            _ => Method::GET,
        };
        let reply = self
            .request(method, path)
            .header("accept", ACCEPT)
            .send()
            .await?
            .expect(200)?;
        match target {
            Target::ManifestByTag | Target::ManifestByDigest => {
                ensure!(reply.body == content.manifest, "the manifest has other bytes");
            }
            Target::SmallBlob => check_digest(&reply, &content.small_digest)?,
            Target::LargeBlob => check_digest(&reply, &content.large_digest)?,
            Target::TagPage(shelf) => {
                let found = reply.json()?;
                ensure!(
                    found["tags"] == serde_json::json!(content.page(shelf)),
                    "other tags: {found}"
                );
            }
            Target::Token | Target::TokenMany | Target::Exchange => {
                let body = reply.json()?;
                let token = body["access_token"].as_str().context("no token")?;
                ensure!(!token.is_empty(), "an empty token");
                if target == Target::TokenMany {
                    permissions::check(token)?;
                }
                // Tokens differ, and so do their lengths.
                return Ok(None);
            }
        }
        Ok(Some(reply.body.len() as u64))
    }

    /// Checks that a pushed blob comes back.
    pub(crate) async fn check_pushed(&self, repository: &str, digest: &Digest) -> Result<()> {
        let path = format!("/v2/{repository}/blobs/{digest}");
        let reply = self.request(Method::GET, &path).send().await?.expect(200)?;
        check_digest(&reply, digest)
    }
}

fn check_digest(reply: &Reply, digest: &Digest) -> Result<()> {
    let found = sha256(&reply.body);
    ensure!(found == *digest, "bytes of {found} instead of {digest}");
    Ok(())
}
