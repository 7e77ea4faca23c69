//! The HTTP routes.

use anyhow::Result;
use reqwest::Method;
use roadstead_integration_tests::image::{media, noise, sha256};
use roadstead_integration_tests::registry::with_query;
use roadstead_integration_tests::{Reply, Request};

use super::callers::{CALLERS, Caller};
use super::cells::Answer::{self, Grants, Is};
use super::stage::{REPOSITORY, Stage, TURNS};

type Path = fn(&Stage, &Caller, usize) -> String;
type Content = fn(Request, &Stage, &Caller, usize) -> Request;

/// One route and method, and its answer to each caller.
pub(crate) struct Row {
    pub(crate) method: &'static str,
    pub(crate) template: &'static str,
    /// With which of its tokens a caller comes.
    shown: Shown,
    path: Path,
    content: Content,
    pub(crate) cells: [Answer; CALLERS.len()],
}

#[derive(Clone, Copy)]
enum Shown {
    Identity,
    Access,
    Registry,
}

impl Row {
    pub(crate) async fn send(&self, stage: &Stage, caller: &Caller, turn: usize) -> Result<Reply> {
        // Those before are for the RPCs.
        let turn = TURNS - CALLERS.len() + turn;
        let registry = stage.organisation.cluster.anonymous()?;
        let method = Method::from_bytes(self.method.as_bytes())?;
        let mut request = registry.request(method, &(self.path)(stage, caller, turn));
        let token = match self.shown {
            Shown::Identity => &caller.identity,
            Shown::Access => &caller.access,
            Shown::Registry => &caller.registry,
        };
        if let Some(token) = token {
            request = match (self.shown, self.template) {
                (Shown::Access, "/token") if self.method == "POST" => request,
                (Shown::Access, "/token") => request.basic("_token", token),
                _ => request.header("authorization", &format!("Bearer {token}")),
            };
        }
        (self.content)(request, stage, caller, turn).send().await
    }
}

/// Cells: anonymous, wrong audience, expired, other group, viewer, puller, pusher, owner.
pub(crate) fn rows() -> Vec<Row> {
    [reads(), writes(), uploads(), tokens(), documents()]
        .into_iter()
        .flatten()
        .collect()
}

/// A row under `/v2/`.
fn row(method: &'static str, template: &'static str, path: Path, cells: [u16; 8]) -> Row {
    Row {
        method,
        template,
        shown: Shown::Registry,
        path,
        content: |request, _, _, _| request,
        cells: cells.map(Is),
    }
}

impl Row {
    fn sending(mut self, content: Content) -> Self {
        self.content = content;
        self
    }
}

#[rustfmt::skip] // The answers stand one above the other.
fn reads() -> Vec<Row> {
    const READ: [u16; 8] = [401, 401, 401, 403, 200, 200, 200, 200];
    // Whoever is known may ask; what is listed is another matter, and another test.
    const KNOWN: [u16; 8] = [401, 401, 401, 200, 200, 200, 200, 200];
    let routes: [(&str, Path, [u16; 8]); 6] = [
        ("/v2/", |_, _, _| "/v2/".into(), KNOWN),
        ("/v2/_catalog", |_, _, _| "/v2/_catalog".into(), KNOWN),
        ("/v2/{name}/tags/list", |_, _, _| format!("/v2/{REPOSITORY}/tags/list"), READ),
        ("/v2/{name}/manifests/{reference}", |_, _, _| format!("/v2/{REPOSITORY}/manifests/latest"), READ),
        ("/v2/{name}/blobs/{digest}", |stage, _, _| format!("/v2/{REPOSITORY}/blobs/{}", sha256(&stage.image.blobs[0])), READ),
        ("/v2/{name}/referrers/{digest}", |stage, _, _| format!("/v2/{REPOSITORY}/referrers/{}", stage.image.digest()), READ),
    ];
    let rows = routes.into_iter().flat_map(|(template, path, cells)| {
        ["GET", "HEAD"].map(|method| row(method, template, path, cells))
    });
    let mut rows: Vec<Row> = rows.collect();
    // Whoever came to push is told that no blob is there, to go on to an answer that has a body.
    let looks = rows.iter_mut().filter(|row| row.method == "HEAD" && row.template.contains("blobs"));
    looks.for_each(|row| row.cells[3] = Is(404));
    rows
}

#[rustfmt::skip] // The answers stand one above the other.
fn writes() -> Vec<Row> {
    vec![
        row("PUT", "/v2/{name}/manifests/{reference}", |_, _, turn| format!("/v2/{REPOSITORY}/manifests/sent-{turn}"), [401, 401, 401, 403, 403, 403, 201, 201])
            .sending(|request, stage, _, _| request.header("content-type", media::MANIFEST).body(stage.image.manifest.clone())),
        row("DELETE", "/v2/{name}/manifests/{reference}", |stage, _, turn| format!("/v2/{REPOSITORY}/manifests/{}", stage.manifests[turn]), [401, 401, 401, 403, 403, 403, 403, 202]),
        row("DELETE", "/v2/{name}/blobs/{digest}", |stage, _, turn| format!("/v2/{REPOSITORY}/blobs/{}", stage.blobs[turn]), [401, 401, 401, 403, 403, 403, 403, 202]),
    ]
}

#[rustfmt::skip] // The answers stand one above the other.
fn uploads() -> Vec<Row> {
    const SESSION: &str = "/v2/{name}/blobs/uploads/{id}";
    let location: Path = |_, caller, _| caller.uploads[1].clone();
    vec![
        row("POST", "/v2/{name}/blobs/uploads/", |_, _, _| format!("/v2/{REPOSITORY}/blobs/uploads/"), [401, 401, 401, 403, 403, 403, 202, 202]),
        row("GET", SESSION, location, [401, 401, 401, 403, 403, 403, 204, 204]),
        row("PATCH", SESSION, location, [401, 401, 401, 403, 403, 403, 202, 202])
            .sending(|request, _, _, turn| request.body(content(turn))),
        row("PUT", SESSION, |_, caller, turn| with_query(&caller.uploads[1], "digest", sha256(&content(turn)).as_str()), [401, 401, 401, 403, 403, 403, 201, 201]),
        // Of those that may, each has finished its own by now.
        row("DELETE", SESSION, |_, caller, _| caller.uploads[1].clone(), [401, 401, 401, 403, 403, 403, 404, 404]),
    ]
}

/// What is uploaded in a turn.
fn content(turn: usize) -> Vec<u8> {
    noise(1_000 + u64::try_from(turn).unwrap_or_default(), 300)
}

fn scope() -> String {
    format!("repository:{REPOSITORY}:pull,push,delete")
}

#[rustfmt::skip] // The answers stand one above the other.
fn tokens() -> Vec<Row> {
    let issued = [
        Grants(&[]), Is(401), Is(401), Grants(&[]), Grants(&["pull"]), Grants(&["pull"]), Grants(&["pull", "push"]), Grants(&["delete", "pull", "push"]),
    ];
    let mut posted = issued;
    posted[0] = Is(401);
    let asking: Path = |stage, _, _| format!("/token?service={}&scope={}", stage.organisation.cluster.address(), scope());
    let token = |method, path: Path, cells| Row { shown: Shown::Access, cells, ..row(method, "/token", path, [0; 8]) };
    let known = |method, template, path, cells: [u16; 8]| Row { shown: Shown::Identity, ..row(method, template, path, cells) };
    vec![
        token("GET", asking, issued),
        token("HEAD", asking, [200, 401, 401, 200, 200, 200, 200, 200].map(Is)),
        // Nobody needs no form to be nobody, and one with an empty password is not that.
        token("POST", |_, _, _| "/token".into(), posted)
            .sending(|request, stage, caller, _| {
                let password = caller.access.clone().unwrap_or_default();
                request.form(&[("grant_type", "password"), ("username", "_token"), ("password", &password), ("service", &stage.organisation.cluster.address()), ("scope", &scope()), ("client_id", "table")])
            }),
        known("POST", "/sts/exchange", |_, _, _| "/sts/exchange".into(), [401, 401, 401, 200, 200, 200, 200, 200]),
        // An unknown token is no error (RFC 7009, section 2.2), and these are none that could be ended.
        known("POST", "/sts/revoke", |_, _, _| "/sts/revoke".into(), [200; 8])
            .sending(|request, _, _, turn| request.form(&[("token", &format!("rsr_unknown-{turn}.1.x"))])),
        // Without the development issuer there is nothing here.
        known("POST", "/dev/token", |_, _, _| "/dev/token".into(), [404; 8]),
    ]
}

/// What anybody may read, and read before they are anybody.
fn documents() -> Vec<Row> {
    let documents: [(&str, Path); 4] = [
        ("/.well-known/roadstead", |_, _, _| {
            "/.well-known/roadstead".into()
        }),
        ("/.well-known/openid-configuration", |_, _, _| {
            "/.well-known/openid-configuration".into()
        }),
        ("/.well-known/jwks/access.json", |_, _, _| {
            "/.well-known/jwks/access.json".into()
        }),
        ("/.well-known/jwks/registry.json", |_, _, _| {
            "/.well-known/jwks/registry.json".into()
        }),
    ];
    let rows = documents.into_iter().flat_map(|(template, path)| {
        ["GET", "HEAD"].map(|method| Row {
            shown: Shown::Access,
            ..row(method, template, path, [200; 8])
        })
    });
    rows.collect()
}
