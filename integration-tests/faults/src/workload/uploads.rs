//! Blobs: at once, in chunks, resumed, cancelled, mounted, deleted, pulled.

use bytes::Bytes;
use rand::Rng as _;
use reqwest::Method;
use roadstead_integration_tests::Reply;
use roadstead_integration_tests::image::noise;
use roadstead_integration_tests::registry::with_query;
use roadstead_types::{Digest, DigestAlgorithm};

use super::client::{Answer, Client};
use crate::ledger::{ChangeId, Effect, Key, Outcome};

/// Contents that all clients push, so that one digest is pushed by several at the same time.
const SHARED_CONTENTS: u64 = 12;

/// A chunk, as the larger uploads are cut. Several checkpoints of the tests' configuration.
const CHUNK: usize = 300_000;

/// An upload under way.
pub(super) struct Upload {
    repository: String,
    bytes: Bytes,
    pub(super) digest: Digest,
    location: String,
    /// What the registry said that it has.
    received: usize,
    /// Once the digest was named.
    finish: Option<ChangeId>,
}

/// How far an upload came.
enum Progress {
    Done,
    Interrupted,
    /// The registry says something that it must not; it is noted.
    Impossible,
}

impl Client {
    fn content(&mut self, largest: usize) -> (Bytes, Digest) {
        let bytes: Bytes = if self.rng.random_ratio(1, 5) {
            let seed = self.rng.random_range(0..SHARED_CONTENTS);
            noise(seed, 4_000 + 11 * usize::try_from(seed).unwrap_or_default()).into()
        } else {
            let length = self.rng.random_range(1_000..largest);
            noise(self.unique(), length).into()
        };
        let algorithm = if self.rng.random_ratio(1, 5) {
            DigestAlgorithm::Sha512
        } else {
            DigestAlgorithm::Sha256
        };
        let digest = Digest::of(algorithm, &bytes);
        self.ledger.knows_content(&digest, bytes.len());
        (bytes, digest)
    }

    pub(super) async fn push_at_once(&mut self) {
        let repository = self.repository();
        let (bytes, digest) = self.content(40_000);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let effect = Effect::PushBlob(repository.clone(), digest.clone());
        let body = Some(("application/octet-stream", bytes));
        self.change(effect, (Method::POST, &path), body, (201, &[])).await;
        self.remember_blob(&repository, &digest);
    }

    pub(super) async fn push_in_chunks(&mut self) {
        let (bytes, digest) = self.content(4 * CHUNK);
        if let Some(upload) = self.open(bytes, digest).await {
            self.go_on(upload).await;
        }
    }

    pub(super) async fn cancel_an_upload(&mut self) {
        let (bytes, digest) = self.content(CHUNK);
        let Some(mut upload) = self.open(bytes, digest).await else {
            return;
        };
        if matches!(self.send_chunk(&mut upload).await, Progress::Done)
            && let Answer::Reply(reply) = self.ask(Method::DELETE, &upload.location).await
            && reply.status != 204
        {
            self.ledger
                .violation(format!("a cancel: {:?}", reply.expect(204)));
        }
    }

    async fn open(&mut self, bytes: Bytes, digest: Digest) -> Option<Upload> {
        let repository = self.repository();
        let named = digest.algorithm() == DigestAlgorithm::Sha512 && self.rng.random_ratio(1, 2);
        let query = if named { "?digest-algorithm=sha512" } else { "" };
        let path = format!("/v2/{repository}/blobs/uploads/{query}");
        let Answer::Reply(reply) = self.ask(Method::POST, &path).await else {
            return None;
        };
        match reply.expect(202).and_then(|reply| reply.location()) {
            Ok(location) => Some(Upload {
                repository,
                bytes,
                digest,
                location,
                received: 0,
                finish: None,
            }),
            Err(error) => {
                self.ledger.violation(format!("opening an upload: {error:#}"));
                None
            }
        }
    }

    /// Sends what is left; what is interrupted is kept for later.
    async fn go_on(&mut self, mut upload: Upload) -> bool {
        while upload.bytes.len() - upload.received > CHUNK {
            match self.send_chunk(&mut upload).await {
                Progress::Done => {}
                Progress::Interrupted => {
                    self.interrupted.push(upload);
                    return false;
                }
                Progress::Impossible => return false,
            }
        }
        match self.finish(&mut upload).await {
            Progress::Done => {
                let Upload {
                    repository, digest, ..
                } = upload;
                self.remember_blob(&repository, &digest);
                true
            }
            Progress::Interrupted => {
                self.interrupted.push(upload);
                false
            }
            Progress::Impossible => false,
        }
    }

    async fn send_chunk(&mut self, upload: &mut Upload) -> Progress {
        let end = upload.bytes.len().min(upload.received + CHUNK);
        let chunk = upload.bytes.slice(upload.received..end);
        let id = self.request_id();
        let request = self
            .request(Method::PATCH, &upload.location, &id)
            .header("Content-Range", &format!("{}-{}", upload.received, end - 1))
            .body(chunk);
        match self.send(request).await {
            Answer::Silence => Progress::Interrupted,
            Answer::Reply(reply) if reply.status == 202 && received(&reply) == Some(end) => {
                upload.received = end;
                Progress::Done
            }
            Answer::Reply(reply) => self.impossible("a chunk", reply),
        }
    }

    async fn finish(&mut self, upload: &mut Upload) -> Progress {
        let id = self.request_id();
        let effect = Effect::PushBlob(upload.repository.clone(), upload.digest.clone());
        let change = match upload.finish {
            Some(change) => {
                self.ledger.repeat(change, id.clone());
                change
            }
            None => *upload.finish.insert(self.ledger.begin(effect, id.clone())),
        };
        let target = with_query(&upload.location, "digest", upload.digest.as_str());
        let rest = upload.bytes.slice(upload.received..);
        let request = self.request(Method::PUT, &target, &id).body(rest);
        let answer = self.send(request).await;
        match self.judge(change, answer, 201, &[]) {
            Outcome::Acknowledged => Progress::Done,
            Outcome::Unknown => Progress::Interrupted,
            Outcome::Refused => Progress::Impossible,
        }
    }

    /// Asks how far the upload is and goes on from there: it must be as far as the registry said, or done.
    pub(super) async fn resume(&mut self, mut upload: Upload) {
        let Answer::Reply(reply) = self.ask(Method::GET, &upload.location).await else {
            self.interrupted.push(upload);
            return;
        };
        match (reply.status.as_u16(), received(&reply)) {
            (204, Some(offset)) if (upload.received..=upload.bytes.len()).contains(&offset) => {
                upload.received = offset;
            }
            // A session that is finished is no more; it answers to the same digest, though.
            (404, _) if upload.finish.is_some() => upload.received = upload.bytes.len(),
            _ => {
                let what = format!("an upload with {} bytes", upload.received);
                self.impossible(&what, reply);
                return;
            }
        }
        if self.go_on(upload).await {
            self.resumed += 1;
        }
    }

    fn impossible(&mut self, what: &str, reply: Reply) -> Progress {
        let range = received(&reply);
        self.ledger
            .violation(format!("{what}: received {range:?}: {:?}", reply.expect(204)));
        Progress::Impossible
    }

    pub(super) async fn mount(&mut self) {
        let target = self.repository();
        let (source, digest) = if self.rng.random_ratio(1, 3) {
            // What the neighbour has is not known here, so the registry may open an upload instead.
            let at = self.rng.random_range(0..self.neighbours.len());
            let (_, digest) = self.content(2_000);
            (self.neighbours[at].clone(), digest)
        } else {
            let source = self.repository();
            let Some(digest) = self.certain_blob(&source) else {
                return;
            };
            (source, digest)
        };
        let path = format!("/v2/{target}/blobs/uploads/?mount={digest}&from={source}");
        let effect = Effect::PushBlob(target.clone(), digest.clone());
        let is_own = !self.neighbours.contains(&source);
        let refusals: &[u16] = if is_own { &[] } else { &[202] };
        self.change(effect, (Method::POST, &path), None, (201, refusals))
            .await;
        self.remember_blob(&target, &digest);
    }

    pub(super) async fn delete_blob(&mut self) {
        let repository = self.repository();
        let Some(digest) = self.certain_blob(&repository) else {
            return;
        };
        let path = format!("/v2/{repository}/blobs/{digest}");
        let is_referenced = self.referenced.contains(&(repository.clone(), digest.clone()));
        let refusals: &[u16] = if is_referenced { &[405] } else { &[] };
        let effect = Effect::DeleteBlob(repository, digest);
        self.change(effect, (Method::DELETE, &path), None, (202, refusals))
            .await;
    }

    pub(super) async fn pull_blob(&mut self) {
        let repository = self.repository();
        let Some(digest) = self.certain_blob(&repository) else {
            return;
        };
        let path = format!("/v2/{repository}/blobs/{digest}");
        if let Answer::Reply(reply) = self.ask(Method::GET, &path).await {
            let found = (reply.status == 200).then(|| Digest::of(digest.algorithm(), &reply.body));
            self.ledger.saw(&Key::Blob(repository, digest), &found);
        }
    }
}

/// How many bytes the registry says to have. It says the same of one byte as of none, and no client here sends one.
fn received(reply: &Reply) -> Option<usize> {
    let last: usize = reply.optional_header("range")?.strip_prefix("0-")?.parse().ok()?;
    Some(if last == 0 { 0 } else { last + 1 })
}
