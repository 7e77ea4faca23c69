//! One trace from the client's request to the last service, collected over OTLP: the whole tree, and nothing in it that
//! is nobody's business.

mod collector;
mod tree;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::Method;
use roadstead_integration_tests::{
    Cluster, Mode,
    image::media,
    in_both_modes,
    registry::{Reply, Request, Session, with_query},
};
use roadstead_types::Digest;

use self::{
    collector::{Collector, Exported, hex},
    tree::render,
};

in_both_modes!(
    a_push_a_pull_and_an_exchange_are_one_tree_each,
    without_a_collector_nothing_is_exported,
    a_collector_that_never_answers_is_not_felt,
);

const REPOSITORY: &str = "traces/one";
const PUSH: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PULL: &str = "0af7651916cd43dd8448eb211c80319c";
const EXCHANGE: &str = "a3ce929d0e0e47364bf92f3577b34da6";
const FAILURE: &str = "8448eb211c80319c0af7651916cd43dd";

/// Spans of the client, one for each request.
const CLIENT_SPANS: [&str; 6] = [
    "000000000000000a",
    "000000000000000b",
    "000000000000000c",
    "000000000000000d",
    "000000000000000e",
    "000000000000000f",
];

/// A trace that a client began, request by request.
struct Trace {
    id: &'static str,
    requests: usize,
}

impl Trace {
    fn new(id: &'static str) -> Self {
        Self { id, requests: 0 }
    }

    async fn send(&mut self, request: Request) -> Result<Reply> {
        let span = CLIENT_SPANS
            .get(self.requests)
            .context("more requests than spans")?;
        self.requests += 1;
        request
            .header("traceparent", &format!("00-{}-{span}-01", self.id))
            .send()
            .await
    }
}

/// What a traced run leaves to be judged.
struct Traced {
    spans: Vec<Exported>,
    /// What must stand in no span.
    secrets: Vec<(&'static str, String)>,
    /// The ids by which the answers name their requests, by trace.
    request_ids: Vec<(&'static str, String)>,
    logs: String,
    events: String,
}

/// Pushes, pulls, exchanges tokens and fails, each under a trace of the client's, and stops the registry, which exports
/// everything before it ends.
async fn traced(mode: Mode) -> Result<Traced> {
    let (collector, address) = Collector::start().await?;
    // Nobody listens there, so that what is exchanged against it fails on our side.
    let issuer = format!(
        "https://127.0.0.1:{}",
        roadstead_integration_tests::ports::free()?
    );
    let setup = Cluster::setup(mode)
        .with_environment("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}"))
        .with(
            "auth.issuers",
            &format!("[{{issuer=\"{issuer}\",audience=\"test\",allow_private=true}}]"),
        );
    let cluster = setup.start().await?;
    let access_token = cluster.access_token().await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let mut request_ids = Vec::new();
    let digest = push(&session, &mut request_ids).await?;
    pull(&session, &digest, &mut request_ids).await?;

    let mut trace = Trace::new(EXCHANGE);
    let path = format!(
        "/token?service={}&scope=repository:{REPOSITORY}:pull",
        cluster.address()
    );
    let request = cluster.anonymous()?.request(Method::GET, &path);
    let reply = trace
        .send(request.basic("_token", &access_token))
        .await?
        .expect(200)?;
    request_ids.push((EXCHANGE, reply.header("x-request-id")?.to_owned()));
    let registry_token = reply.json()?["token"].as_str().context("a token")?.to_owned();

    let mut trace = Trace::new(FAILURE);
    let identity_token = unsigned_identity_token(&issuer);
    let request = cluster.anonymous()?.request(Method::POST, "/sts/exchange");
    let request = request.header("authorization", &format!("Bearer {identity_token}"));
    let reply = trace.send(request).await?.expect(503)?;
    request_ids.push((FAILURE, reply.header("x-request-id")?.to_owned()));
    let missing = session.request(Method::GET, &format!("/v2/{REPOSITORY}/manifests/missing"));
    trace.send(missing).await?.expect(404)?;

    let events = roadstead_integration_tests::deadline::eventually(
        "the push is in the log of events",
        Duration::from_secs(20),
        async || {
            let command = [
                "events",
                "list",
                "--registry",
                &cluster.address(),
                "--type",
                "push",
                "--output",
                "json",
            ];
            let events = cluster.cli(&command).await?;
            Ok(events.contains(&digest.to_string()).then_some(events))
        },
    )
    .await?;
    let dev_secret = dev_secret(&cluster)?;
    let home = cluster.stop().await?;
    let logs = read_all(&[home.logs(), home.data().join("logs")]);
    Ok(Traced {
        spans: collector.everything(&CLIENT_SPANS)?,
        secrets: vec![
            ("an access token", access_token),
            ("a registry token", registry_token),
            ("a registry token", session.token().to_owned()),
            ("an identity token", identity_token),
            ("the secret of the development issuer", dev_secret),
        ],
        request_ids,
        logs,
        events,
    })
}

/// A blob in two requests and its image, which names it twice.
async fn push(session: &Session, request_ids: &mut Vec<(&'static str, String)>) -> Result<Digest> {
    const CONTENT: &[u8] = b"{}";
    let mut trace = Trace::new(PUSH);
    let start = session.request(Method::POST, &format!("/v2/{REPOSITORY}/blobs/uploads/"));
    let reply = trace.send(start).await?.expect(202)?;
    request_ids.push((PUSH, reply.header("x-request-id")?.to_owned()));
    let location = reply.location()?;
    let patch = session.request(Method::PATCH, &location).body(CONTENT);
    let location = trace.send(patch).await?.expect(202)?.location()?;
    let blob = Digest::sha256(CONTENT);
    let put = session.request(Method::PUT, &with_query(&location, "digest", blob.as_str()));
    trace.send(put).await?.expect(201)?;
    let descriptor = |media_type: &str| roadstead_integration_tests::image::descriptor(media_type, CONTENT);
    let manifest = serde_json::to_vec(&serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media::MANIFEST,
        "config": descriptor(media::EMPTY),
        "layers": [descriptor(media::EMPTY)],
    }))?;
    let digest = Digest::sha256(&manifest);
    let put = session
        .request(Method::PUT, &format!("/v2/{REPOSITORY}/manifests/latest"))
        .header("content-type", media::MANIFEST)
        .body(manifest);
    trace.send(put).await?.expect(201)?;
    Ok(digest)
}

async fn pull(
    session: &Session,
    digest: &Digest,
    request_ids: &mut Vec<(&'static str, String)>,
) -> Result<()> {
    let mut trace = Trace::new(PULL);
    for (method, path) in [
        (Method::HEAD, format!("/v2/{REPOSITORY}/manifests/latest")),
        (Method::GET, format!("/v2/{REPOSITORY}/manifests/{digest}")),
        (
            Method::HEAD,
            format!("/v2/{REPOSITORY}/blobs/{}", Digest::sha256(b"{}")),
        ),
        (
            Method::GET,
            format!("/v2/{REPOSITORY}/blobs/{}", Digest::sha256(b"{}")),
        ),
    ] {
        let reply = trace.send(session.request(method, &path)).await?.expect(200)?;
        request_ids.push((PULL, reply.header("x-request-id")?.to_owned()));
    }
    Ok(())
}

fn unsigned_identity_token(issuer: &str) -> String {
    let encode = |text: String| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(text);
    let header = encode(r#"{"alg":"RS256","kid":"a"}"#.to_owned());
    let claims = encode(format!(
        r#"{{"iss":"{issuer}","aud":"test","sub":"someone-with-a-name","exp":4102444800,"iat":1}}"#
    ));
    format!(
        "{header}.{claims}.{}",
        encode("a signature that is none".to_owned())
    )
}

/// What the registry wrote into the user's runtime directory.
fn dev_secret(cluster: &Cluster) -> Result<String> {
    let environment = cluster.home().environment();
    let (_, runtime) = environment
        .iter()
        .find(|(name, _)| name == "XDG_RUNTIME_DIR")
        .context("a runtime directory")?;
    let secret = read_all(&[PathBuf::from(runtime)]);
    ensure!(!secret.trim().is_empty(), "no secret in {runtime}");
    Ok(secret.trim().to_owned())
}

/// The text of every file below the directories.
fn read_all(directories: &[PathBuf]) -> String {
    let mut text = String::new();
    let mut queue = directories.to_vec();
    while let Some(path) = queue.pop() {
        match std::fs::read_dir(&path) {
            Ok(entries) => queue.extend(entries.filter_map(|entry| Some(entry.ok()?.path()))),
            Err(_) => text.push_str(&std::fs::read_to_string(path).unwrap_or_default()),
        }
    }
    text
}

/// What a client's requests come to: below the client's own span, each span with its service, its kind, its name, its
/// outcome and, if it failed, that it did.
const TREES: &str = "\
push
a
  gateway server POST /v2/{name}/blobs/uploads/ 202
    gateway client roadstead.metadata.v1.UploadService/CreateUpload Ok
      metadata server roadstead.metadata.v1.UploadService/CreateUpload Ok
b
  gateway server PATCH /v2/{name}/blobs/uploads/{id} 202
    gateway client roadstead.metadata.v1.UploadService/AcquireUpload Ok
      metadata server roadstead.metadata.v1.UploadService/AcquireUpload Ok
    gateway client roadstead.blobs.v1.BlobWriteService/Append Ok
      blobs server roadstead.blobs.v1.BlobWriteService/Append Ok
        blobs inside task append
    gateway client roadstead.metadata.v1.UploadService/SaveUpload Ok
      metadata server roadstead.metadata.v1.UploadService/SaveUpload Ok
c
  gateway server PUT /v2/{name}/blobs/uploads/{id} 201
    gateway client roadstead.metadata.v1.UploadService/AcquireUpload Ok
      metadata server roadstead.metadata.v1.UploadService/AcquireUpload Ok
    gateway client roadstead.blobs.v1.BlobWriteService/Finish Ok
      blobs server roadstead.blobs.v1.BlobWriteService/Finish Ok
    gateway client roadstead.metadata.v1.UploadService/FinishUpload Ok
      metadata server roadstead.metadata.v1.UploadService/FinishUpload Ok
d
  gateway server PUT /v2/{name}/manifests/{reference} 201
    gateway client roadstead.metadata.v1.WriteService/PutManifest Ok
      metadata server roadstead.metadata.v1.WriteService/PutManifest Ok
pull
a
  gateway server HEAD /v2/{name}/manifests/{reference} 200
    gateway client roadstead.metadata.v1.ReadService/GetManifest Ok
      metadata server roadstead.metadata.v1.ReadService/GetManifest Ok
b
  gateway server GET /v2/{name}/manifests/{reference} 200
    gateway client roadstead.metadata.v1.ReadService/GetManifest Ok
      metadata server roadstead.metadata.v1.ReadService/GetManifest Ok
c
  gateway server HEAD /v2/{name}/blobs/{digest} 200
    gateway client roadstead.metadata.v1.ReadService/ResolveBlob Ok
      metadata server roadstead.metadata.v1.ReadService/ResolveBlob Ok
d
  gateway server GET /v2/{name}/blobs/{digest} 200
    gateway client roadstead.metadata.v1.ReadService/ResolveBlob Ok
      metadata server roadstead.metadata.v1.ReadService/ResolveBlob Ok
    gateway client roadstead.blobs.v1.BlobReadService/Read Ok
      blobs server roadstead.blobs.v1.BlobReadService/Read Ok
exchange
a
  gateway server GET /token 200
    gateway client roadstead.auth.v1.TokenService/IssueRegistryToken Ok
      auth server roadstead.auth.v1.TokenService/IssueRegistryToken Ok
failure
a
  gateway server POST /sts/exchange 503 ERROR
    gateway client roadstead.auth.v1.TokenService/Exchange Unavailable ERROR
      auth server roadstead.auth.v1.TokenService/Exchange Unavailable ERROR
b
  gateway server GET /v2/{name}/manifests/{reference} 404
    gateway client roadstead.metadata.v1.ReadService/GetManifest NotFound ERROR
      metadata server roadstead.metadata.v1.ReadService/GetManifest NotFound
";

async fn a_push_a_pull_and_an_exchange_are_one_tree_each(mode: Mode) -> Result<()> {
    let traced = traced(mode).await?;
    let mut trees = String::new();
    for (what, trace) in [
        ("push", PUSH),
        ("pull", PULL),
        ("exchange", EXCHANGE),
        ("failure", FAILURE),
    ] {
        for line in std::iter::once(what.to_owned()).chain(render(&traced.spans, trace)) {
            trees += &line;
            trees += "\n";
        }
    }
    assert_eq!(trees, in_services_of(mode, TREES), "the traces are\n{trees}");
    assert_names_requests(&traced);
    assert_keeps_secrets(&traced);
    let push_event: Vec<serde_json::Value> = serde_json::from_str(&traced.events)?;
    let put = traced.spans.iter().find(|exported| {
        exported.span.name == "roadstead.metadata.v1.WriteService/PutManifest" && exported.span.kind == 2
    });
    let put = put.context("the span of the write")?;
    let expected = format!("00-{PUSH}-{}-01", hex(&put.span.span_id));
    assert!(
        push_event
            .iter()
            .any(|event| event["event"]["traceparent"] == expected.as_str()),
        "the event of the push goes on from {expected}: {push_event:#?}"
    );
    Ok(())
}

/// In one process every span is of the same service; nothing else differs.
fn in_services_of(mode: Mode, tree: &str) -> String {
    match mode {
        Mode::Split => tree.to_owned(),
        Mode::AllInOne => tree
            .lines()
            .map(|line| {
                let indent = line.len() - line.trim_start().len();
                match line.trim_start().split_once(' ') {
                    Some((_, rest)) => format!("{}roadstead {rest}\n", " ".repeat(indent)),
                    None => format!("{line}\n"),
                }
            })
            .collect(),
    }
}

/// The id in the answer, in the log and on the span is one.
fn assert_names_requests(traced: &Traced) {
    for (trace, id) in &traced.request_ids {
        let spans = traced
            .spans
            .iter()
            .filter(|exported| exported.attribute("request_id").as_deref() == Some(id));
        let traces: Vec<String> = spans.map(|exported| hex(&exported.span.trace_id)).collect();
        assert_eq!(traces, [*trace], "spans of request {id}");
        assert!(
            traced.logs.contains(id.as_str()),
            "request {id} is not in the log"
        );
    }
}

/// Everything that a span may say; what is not in this list was not thought about.
const ATTRIBUTES: [&str; 13] = [
    "http.request.method",
    "http.route",
    "http.response.status_code",
    "request_id",
    "name",
    "rpc.system",
    "rpc.service",
    "rpc.method",
    "rpc.grpc.status_code",
    "code.file.path",
    "code.module.name",
    "code.line.number",
    "target",
];

/// What lines of the log may say beside that; spans carry them as events.
const EVENT_ATTRIBUTES: [&str; 13] = [
    "level",
    "issuer",
    "subject",
    "error",
    "method",
    "path",
    "status",
    "duration_ms",
    "client",
    "user_agent",
    "cause",
    "failures",
    "identities",
];

fn assert_keeps_secrets(traced: &Traced) {
    for exported in &traced.spans {
        for attribute in &exported.span.attributes {
            assert!(ATTRIBUTES.contains(&attribute.key.as_str()), "{attribute:?}");
        }
        for attribute in exported.span.events.iter().flat_map(|event| &event.attributes) {
            let key = attribute.key.as_str();
            assert!(
                ATTRIBUTES.contains(&key) || EVENT_ATTRIBUTES.contains(&key),
                "{attribute:?}"
            );
        }
    }
    let everything = format!("{:?}", traced.spans);
    for (what, secret) in &traced.secrets {
        let encoded = BASE64_STANDARD.encode(format!("_token:{secret}"));
        let parts = secret.split('.').filter(|part| part.len() > 16);
        for text in parts.chain([secret.as_str(), &encoded]) {
            assert!(!everything.contains(text), "{what} is in an exported span");
            assert!(!traced.logs.contains(text), "{what} is in a log");
        }
    }
    assert!(!everything.contains("service="), "a query is in an exported span");
}

/// The threads of the registry's processes by name, as far as the kernel keeps it.
fn threads(cluster: &Cluster) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for program in cluster.process().programs() {
        for task in std::fs::read_dir(format!("/proc/{}/task", program.pid))? {
            let name = std::fs::read_to_string(task?.path().join("comm")).unwrap_or_default();
            names.push(name.trim().to_owned());
        }
    }
    ensure!(!names.is_empty(), "the registry runs");
    Ok(names)
}

/// The threads that export spans; each process that exports has one.
fn exporters(cluster: &Cluster) -> Result<usize> {
    let names = threads(cluster)?;
    Ok(names
        .iter()
        .filter(|name| name.starts_with("OpenTelemetry"))
        .count())
}

async fn without_a_collector_nothing_is_exported(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    push(&session, &mut Vec::new()).await?;
    assert_eq!(exporters(&cluster)?, 0, "something exports to nobody");
    cluster.stop().await?;
    Ok(())
}

/// A collector that takes connections and says nothing is the worst: one that refuses is known at once.
async fn a_collector_that_never_answers_is_not_felt(mode: Mode) -> Result<()> {
    const REQUESTS: usize = 100;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = silent.local_addr()?;
    let setup = Cluster::setup(mode)
        .with_environment("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}"))
        .with_environment("OTEL_BSP_SCHEDULE_DELAY", "100");
    let cluster = setup.start().await?;
    assert_ne!(exporters(&cluster)?, 0, "nothing exports");
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let digest = push(&session, &mut Vec::new()).await?;
    let started = Instant::now();
    for _ in 0..REQUESTS {
        session
            .get(&format!("/v2/{REPOSITORY}/manifests/{digest}"))
            .await?
            .expect(200)?;
    }
    // An export that is given up takes ten seconds: a single request that waited for one would show.
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{REQUESTS} pulls took {:?}",
        started.elapsed()
    );
    // Stops in the time that is promised, whatever is still to be exported, and by itself.
    let home = cluster.stop().await?;
    for log in std::fs::read_dir(home.logs())? {
        let said = std::fs::read_to_string(log?.path())?;
        assert!(!said.contains("did not stop in time"), "{said}");
    }
    Ok(())
}
