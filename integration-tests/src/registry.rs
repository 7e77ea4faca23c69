//! An HTTP client that does what it is told: no redirects, no retries, no hidden requests.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder, StatusCode};
use roadstead_types::{Digest, DigestAlgorithm};
use serde_json::Value;

use crate::image::{Image, media};

/// A request to a healthy registry on this machine never takes longer, large bodies included.
const REQUEST_LIMIT: Duration = Duration::from_mins(1);

/// Who calls.
#[derive(Clone, Debug)]
pub enum Credential {
    /// Nobody.
    None,
    /// The holder of an access token.
    Token(String),
}

/// A registry and who calls it. Holds no registry token: see [`Registry::session`].
#[derive(Clone, Debug)]
pub struct Registry {
    base: String,
    service: String,
    http: reqwest::Client,
    credential: Credential,
}

impl Registry {
    /// A client for the registry at `base`, for example `http://127.0.0.1:5000`.
    pub fn new(base: &str, credential: Credential) -> Result<Self> {
        // Another test of this process may have installed it: either way one is there.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(REQUEST_LIMIT)
            .no_proxy()
            .build()
            .context("build the HTTP client")?;
        let base = base.trim_end_matches('/').to_owned();
        let service = base.split_once("://").map_or(&*base, |(_, host)| host).to_owned();
        Ok(Self {
            base,
            service,
            http,
            credential,
        })
    }

    /// The same registry, called by another.
    pub fn with(&self, credential: Credential) -> Result<Self> {
        Ok(Self {
            credential,
            ..self.clone()
        })
    }

    /// The same registry where it calls itself something else than the address it is reached by.
    #[must_use]
    pub fn known_as(&self, service: &str) -> Self {
        Self {
            service: service.to_owned(),
            ..self.clone()
        }
    }

    /// The base address, without a slash at the end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// An unauthenticated request.
    pub fn request(&self, method: Method, path: &str) -> Request {
        let url = if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("{}{path}", self.base)
        };
        Request(self.http.request(method, url))
    }

    /// An unauthenticated GET.
    pub async fn get(&self, path: &str) -> Result<Reply> {
        self.request(Method::GET, path).send().await
    }

    /// Asks `/token` with GET, once with each scope in a parameter of its own.
    pub async fn ask_token(&self, scopes: &[&str]) -> Result<Reply> {
        let mut request = self
            .request(Method::GET, "/token")
            .0
            .query(&[("service", &self.service)]);
        for scope in scopes {
            request = request.query(&[("scope", scope)]);
        }
        let request = match &self.credential {
            Credential::None => request,
            Credential::Token(token) => request.basic_auth("_token", Some(token)),
        };
        Request(request).send().await
    }

    /// A registry token for the scopes, or what of them the caller may have.
    pub async fn token(&self, scopes: &[&str]) -> Result<String> {
        let reply = self.ask_token(scopes).await?.expect(200)?.json()?;
        let token = reply["token"].as_str().context("no token in the answer")?;
        ensure!(
            reply["access_token"] == reply["token"],
            "token and access_token must be the same"
        );
        Ok(token.to_owned())
    }

    /// A client that sends a registry token for the scopes with every request.
    pub async fn session(&self, scopes: &[&str]) -> Result<Session> {
        Ok(Session {
            token: self.token(scopes).await?,
            registry: self.clone(),
        })
    }

    /// A [`Session`] that may pull, push and delete in the named repositories.
    pub async fn session_for(&self, repositories: &[&str]) -> Result<Session> {
        let scopes: Vec<String> = repositories
            .iter()
            .map(|name| format!("repository:{name}:pull,push,delete"))
            .collect();
        self.session(&scopes.iter().map(String::as_str).collect::<Vec<_>>())
            .await
    }
}

/// A registry together with a registry token.
#[derive(Clone, Debug)]
pub struct Session {
    registry: Registry,
    token: String,
}

impl Session {
    /// Uses the given registry token.
    pub fn new(registry: Registry, token: String) -> Self {
        Self { registry, token }
    }

    /// The registry token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// A request that carries the token. `path` may be a `Location` as it came.
    pub fn request(&self, method: Method, path: &str) -> Request {
        let request = self.registry.request(method, path);
        request.header(AUTHORIZATION.as_str(), &format!("Bearer {}", self.token))
    }

    /// A GET.
    pub async fn get(&self, path: &str) -> Result<Reply> {
        self.request(Method::GET, path).send().await
    }

    /// A HEAD.
    pub async fn head(&self, path: &str) -> Result<Reply> {
        self.request(Method::HEAD, path).send().await
    }

    /// A DELETE.
    pub async fn delete(&self, path: &str) -> Result<Reply> {
        self.request(Method::DELETE, path).send().await
    }

    /// Opens an upload and gives its `Location`.
    pub async fn open_upload(&self, repository: &str) -> Result<String> {
        let reply = self
            .request(Method::POST, &format!("/v2/{repository}/blobs/uploads/"))
            .send()
            .await?;
        reply.expect(202)?.location()
    }

    /// Appends a chunk at `offset` and gives the next `Location`.
    pub async fn append(&self, location: &str, offset: usize, chunk: &[u8]) -> Result<String> {
        let reply = self
            .request(Method::PATCH, location)
            .header("Content-Range", &format!("{offset}-{}", offset + chunk.len() - 1))
            .body(chunk.to_vec())
            .send()
            .await?
            .expect(202)?;
        ensure!(
            reply.header("range")? == format!("0-{}", offset + chunk.len() - 1),
            "Range says where the upload stands"
        );
        reply.location()
    }

    /// Finishes an upload; the answer is not judged.
    pub async fn finish(&self, location: &str, digest: &Digest, rest: &[u8]) -> Result<Reply> {
        let request = self.request(Method::PUT, &with_query(location, "digest", digest.as_str()));
        request.body(rest.to_vec()).send().await
    }

    /// Pushes a blob with POST and PUT.
    pub async fn push_blob(&self, repository: &str, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(DigestAlgorithm::Sha256, bytes);
        let location = self.open_upload(repository).await?;
        self.finish(&location, &digest, bytes).await?.expect(201)?;
        Ok(digest)
    }

    /// Puts a manifest; the answer is not judged.
    pub async fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Reply> {
        self.request(Method::PUT, &format!("/v2/{repository}/manifests/{reference}"))
            .header(CONTENT_TYPE.as_str(), media_type)
            .body(bytes.to_vec())
            .send()
            .await
    }

    /// Puts a manifest under its digest or a tag, which must work, and gives its digest.
    pub async fn push_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest> {
        let reply = self
            .put_manifest(repository, reference, media_type, bytes)
            .await?
            .expect(201)?;
        let digest =
            Digest::parse(reply.header("docker-content-digest")?).context("the manifest's digest")?;
        ensure!(
            digest == Digest::of(digest.algorithm(), bytes),
            "the registry computed another digest"
        );
        Ok(digest)
    }

    /// Pushes an image's blobs, then its manifest.
    pub async fn push_image(&self, repository: &str, reference: &str, image: &Image) -> Result<Digest> {
        for blob in &image.blobs {
            self.push_blob(repository, blob).await?;
        }
        self.push_manifest(repository, reference, media::MANIFEST, &image.manifest)
            .await
    }

    /// Pulls a manifest and everything under it, checks every digest, and gives the manifest's digest.
    pub async fn pull_everything(&self, repository: &str, reference: &str) -> Result<Digest> {
        let reply = self
            .get(&format!("/v2/{repository}/manifests/{reference}"))
            .await?
            .expect(200)?;
        let digest =
            Digest::parse(reply.header("docker-content-digest")?).context("the manifest's digest")?;
        ensure!(
            digest == Digest::of(digest.algorithm(), &reply.body),
            "{repository}:{reference} has other bytes"
        );
        let manifest = reply.json()?;
        for child in manifest["manifests"].as_array().into_iter().flatten() {
            let child = child["digest"].as_str().context("a child without a digest")?;
            Box::pin(self.pull_everything(repository, child)).await?;
        }
        let layers = manifest["layers"].as_array().into_iter().flatten();
        for blob in layers.chain(manifest.get("config")) {
            let wanted = Digest::parse(blob["digest"].as_str().context("a blob without a digest")?)?;
            let reply = self
                .get(&format!("/v2/{repository}/blobs/{wanted}"))
                .await?
                .expect(200)?;
            ensure!(
                wanted == Digest::of(wanted.algorithm(), &reply.body),
                "{repository}@{wanted} has other bytes"
            );
        }
        Ok(digest)
    }
}

/// A request that is being put together.
#[derive(Debug)]
#[must_use]
pub struct Request(RequestBuilder);

impl Request {
    /// Adds a header.
    pub fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value))
    }

    /// Sets the body, sent with its length.
    pub fn body(self, bytes: impl Into<reqwest::Body>) -> Self {
        Self(self.0.body(bytes))
    }

    /// Sends the pieces with `Transfer-Encoding: chunked`.
    pub fn chunked(self, pieces: Vec<Bytes>) -> Self {
        let pieces = futures::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
        Self(self.0.body(reqwest::Body::wrap_stream(pieces)))
    }

    /// Lets the request take longer than any other may, its answer included.
    pub fn within(self, limit: Duration) -> Self {
        Self(self.0.timeout(limit))
    }

    /// Sets the body to a form.
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        Self(self.0.form(fields))
    }

    /// Sends Basic credentials.
    pub fn basic(self, user: &str, password: &str) -> Self {
        Self(self.0.basic_auth(user, Some(password)))
    }

    /// Sends the request and gives the answer with its body still to come.
    pub async fn open(self) -> Result<reqwest::Response> {
        self.0.send().await.context("send the request")
    }

    /// Sends the request and reads the whole answer.
    pub async fn send(self) -> Result<Reply> {
        let response = self.0.send().await.context("send the request")?;
        let (status, headers, url) = (
            response.status(),
            response.headers().clone(),
            response.url().to_string(),
        );
        let body = response
            .bytes()
            .await
            .with_context(|| format!("read the answer of {url}"))?;
        Ok(Reply {
            status,
            headers,
            body,
            url,
        })
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    url: String,
}

impl Reply {
    /// Requires the status.
    pub fn expect(self, status: u16) -> Result<Self> {
        if self.status.as_u16() == status {
            return Ok(self);
        }
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(2_000)]);
        bail!(
            "{}: {} instead of {status}: {body}\n{:?}",
            self.url,
            self.status,
            self.headers
        )
    }

    /// Requires the status and the first error's code.
    pub fn expect_error(self, status: u16, code: &str) -> Result<Self> {
        let reply = self.expect(status)?;
        let found = reply.error_code()?;
        ensure!(found == code, "{}: error {found} instead of {code}", reply.url);
        Ok(reply)
    }

    /// A header that must be there.
    pub fn header(&self, name: &str) -> Result<&str> {
        let value = self
            .headers
            .get(name)
            .with_context(|| format!("{}: no header {name}", self.url))?;
        value
            .to_str()
            .with_context(|| format!("{}: header {name} is not text", self.url))
    }

    /// A header that may be missing.
    pub fn optional_header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The `Location`.
    pub fn location(&self) -> Result<String> {
        Ok(self.header("location")?.to_owned())
    }

    /// The target of `Link: <...>; rel="next"`, if there is one.
    pub fn next_page(&self) -> Option<String> {
        let link = self.optional_header("link")?;
        let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
        parameters.contains("rel=\"next\"").then(|| target.to_owned())
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("{}: not JSON: {:?}", self.url, self.body))
    }

    /// The first error's code.
    pub fn error_code(&self) -> Result<String> {
        let body = self.json()?;
        let code = body["errors"][0]["code"].as_str();
        Ok(code
            .with_context(|| format!("{}: no error code in {body}", self.url))?
            .to_owned())
    }

    /// What tells two answers apart for a caller, apart from what names the request itself.
    pub fn essence(&self) -> (StatusCode, Option<String>, Option<String>) {
        let challenge = self.optional_header("www-authenticate").map(ToOwned::to_owned);
        (self.status, challenge, self.error_code().ok())
    }
}

/// Adds a query parameter to a `Location`, which may have a query already.
pub fn with_query(location: &str, name: &str, value: &str) -> String {
    let separator = if location.contains('?') { '&' } else { '?' };
    format!("{location}{separator}{name}={value}")
}

/// The parameters of a `WWW-Authenticate: Bearer` challenge.
pub fn challenge(reply: &Reply) -> Result<std::collections::BTreeMap<String, String>> {
    let header = reply.header("www-authenticate")?;
    let parameters = header
        .strip_prefix("Bearer ")
        .with_context(|| format!("not a Bearer challenge: {header}"))?;
    parameters
        .split("\",")
        .map(|parameter| {
            let (name, value) = parameter
                .split_once("=\"")
                .with_context(|| format!("not quoted: {parameter}"))?;
            Ok((name.trim().to_owned(), value.trim_end_matches('"').to_owned()))
        })
        .collect()
}
