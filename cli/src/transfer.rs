//! The part of the distribution API that a push and a pull need, as a plain client would use it.

use bytes::Bytes;
use reqwest::{
    Method, RequestBuilder, Response, StatusCode,
    header::{self, HeaderMap, HeaderValue},
};
use roadstead_types::{Digest, RepositoryName};
use url::Url;

use crate::{
    error::Error,
    oci::{self, Challenge, send},
    registry::Registry,
};

/// One repository and a registry token for it.
pub(crate) struct Repository<'a> {
    registry: &'a Registry,
    name: RepositoryName,
    token: String,
    /// How long the token lives, as the registry said.
    pub(crate) expires_in: Option<u64>,
}

impl<'a> Repository<'a> {
    /// Turns an access token into a registry token that may push to and pull from one repository.
    pub(crate) async fn open(
        registry: &'a Registry,
        challenge: &Challenge,
        name: RepositoryName,
        access_token: &str,
    ) -> Result<Self, Error> {
        let scope = format!("repository:{name}:pull,push");
        let granted = oci::registry_token(registry, challenge, &scope, access_token).await?;
        Ok(Self {
            registry,
            name,
            token: granted.token,
            expires_in: granted.expires_in,
        })
    }

    /// Whether a blob is there.
    pub(crate) async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let path = format!("blobs/{digest}");
        let answer = send(self.registry, self.request(Method::HEAD, &path)?).await?;
        match answer.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.registry.refused(format!("HEAD {path}"), answer).await),
        }
    }

    /// Uploads a blob: opens a session, sends all in chunks of `chunk_size` but the last, which the closing PUT carries.
    /// Returns the number of requests.
    pub(crate) async fn upload(
        &self,
        digest: &Digest,
        bytes: &Bytes,
        chunk_size: usize,
    ) -> Result<usize, Error> {
        let answer = send(
            self.registry,
            self.request(Method::POST, "blobs/uploads/")?.body(""),
        )
        .await?;
        let mut location = self
            .location(answer, StatusCode::ACCEPTED, "POST blobs/uploads/")
            .await?;
        let mut requests = 2;
        let mut start = 0;
        while bytes.len() - start > chunk_size {
            let end = start + chunk_size;
            let request = self
                .authorized(Method::PATCH, location)
                .header(header::CONTENT_RANGE, format!("{start}-{}", end - 1))
                .header(header::CONTENT_TYPE, "application/octet-stream")
                .body(bytes.slice(start..end));
            let answer = send(self.registry, request).await?;
            location = self
                .location(answer, StatusCode::ACCEPTED, "PATCH of an upload")
                .await?;
            start = end;
            requests += 1;
        }
        location.query_pairs_mut().append_pair("digest", digest.as_str());
        let request = self
            .authorized(Method::PUT, location)
            .header(header::CONTENT_RANGE, format!("{start}-{}", bytes.len() - 1))
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .body(bytes.slice(start..));
        let answer = send(self.registry, request).await?;
        self.location(answer, StatusCode::CREATED, "PUT of an upload")
            .await?;
        Ok(requests)
    }

    /// Stores a manifest under a tag or its digest; returns the digest that the registry computed.
    pub(crate) async fn put_manifest(
        &self,
        reference: &str,
        media_type: &'static str,
        bytes: &Bytes,
    ) -> Result<Option<Digest>, Error> {
        let path = format!("manifests/{reference}");
        let request = self
            .request(Method::PUT, &path)?
            .header(header::CONTENT_TYPE, media_type)
            .body(bytes.clone());
        let answer = send(self.registry, request).await?;
        if answer.status() != StatusCode::CREATED {
            return Err(self.registry.refused(format!("PUT {path}"), answer).await);
        }
        Ok(content_digest(answer.headers()))
    }

    /// The digest that a tag points at.
    pub(crate) async fn resolve(&self, tag: &str) -> Result<Option<Digest>, Error> {
        let path = format!("manifests/{tag}");
        let answer = send(self.registry, self.request(Method::HEAD, &path)?).await?;
        match answer.status() {
            StatusCode::OK => Ok(content_digest(answer.headers())),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.registry.refused(format!("HEAD {path}"), answer).await),
        }
    }

    /// Content under `blobs` or `manifests` by digest.
    pub(crate) async fn get(&self, kind: &str, digest: &Digest) -> Result<Bytes, Error> {
        let path = format!("{kind}/{digest}");
        let answer = send(self.registry, self.request(Method::GET, &path)?).await?;
        if answer.status() != StatusCode::OK {
            return Err(self.registry.refused(format!("GET {path}"), answer).await);
        }
        answer
            .bytes()
            .await
            .map_err(|error| self.registry.unreachable(error))
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Error> {
        Ok(self.authorized(method, self.registry.url(&format!("v2/{}/{path}", self.name))?))
    }

    fn authorized(&self, method: Method, url: Url) -> RequestBuilder {
        self.registry.http().request(method, url).bearer_auth(&self.token)
    }

    /// Where to go on. A location is relative to the registry, and on no other host: the token goes with it.
    async fn location(&self, answer: Response, wanted: StatusCode, request: &str) -> Result<Url, Error> {
        if answer.status() != wanted {
            return Err(self.registry.refused(request, answer).await);
        }
        let location = answer.headers().get(header::LOCATION).map(HeaderValue::to_str);
        let location = location
            .and_then(Result::ok)
            .and_then(|location| answer.url().join(location).ok());
        location
            .filter(|location| location.origin() == self.registry.base().origin())
            .ok_or_else(|| Error::Refused {
                host: self.registry.host().to_string(),
                request: request.to_owned(),
                reason: "there is no usable Location".to_owned(),
            })
    }
}

fn content_digest(headers: &HeaderMap) -> Option<Digest> {
    headers
        .get("docker-content-digest")
        .and_then(|value| Digest::parse(value.to_str().ok()?).ok())
}
