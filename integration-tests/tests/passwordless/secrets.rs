//! After a day in the life of a registry, none of the secrets that were used in it is in anything that it wrote or said.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use reqwest::Method;
use roadstead_integration_tests::deadline::eventually;
use roadstead_integration_tests::image::Image;
use roadstead_integration_tests::{Credential, Mode, Registry, Reply, Session, in_both_modes};
use roadstead_proto::auth::v1::{RevokePullTokenRequest, RotatePullTokenRequest};
use roadstead_testkit::GitHubJob;
use serde_json::Value;
use tonic::{Request, Response, Status, transport::Server};

use crate::administration::group;
use crate::organisation::{Organisation, exactly, exchange};

in_both_modes!(no_secret_is_in_anything_that_was_written_or_said,);

const REPOSITORY: &str = "acme/web";

/// Files in which secrets lie by intention, sealed or for their owner alone.
const KEY_FILES: [&str; 3] = [".key", ".pem", ".secret"];

/// What must be nowhere, and whose it is.
#[derive(Default)]
struct Secrets(Vec<(&'static str, Vec<u8>)>);

impl Secrets {
    /// Remembers a secret: of a token what is its own, and of what is text for bytes also the bytes.
    fn keep(&mut self, whose: &'static str, secret: &str) {
        let parts: Vec<&str> = match secret.split('.').collect::<Vec<_>>()[..] {
            [_, claims, signature] if secret.starts_with("eyJ") => vec![claims, signature],
            _ => vec![secret.rsplit(['.', '_']).next().unwrap_or(secret), secret],
        };
        for part in parts.into_iter().filter(|part| part.len() >= 20) {
            self.0.push((whose, part.as_bytes().to_vec()));
            // A claims part is text that may well stand elsewhere; what it is signed with may not.
            if let Ok(bytes) = BASE64_URL_SAFE_NO_PAD.decode(part)
                && !bytes.starts_with(b"{")
            {
                self.0.push((whose, bytes));
            }
        }
    }

    fn check(&self, what: &str, content: &[u8]) -> Result<()> {
        for (whose, secret) in &self.0 {
            ensure!(!find(content, secret), "{what} holds a secret of {whose}");
        }
        Ok(())
    }
}

/// Keeps what services export, as text.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

#[tonic::async_trait]
impl TraceService for Spans {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut received = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        received.push(format!("{:?}", request.into_inner()));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Spans {
    async fn collect() -> Result<(Self, String)> {
        let spans = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let service = Server::builder().add_service(TraceServiceServer::new(spans.clone()));
        #[expect(clippy::disallowed_methods, reason = "lives as long as the test's runtime")]
        tokio::spawn(service.serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener)));
        Ok((spans, format!("http://{address}")))
    }

    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }
}

/// Our own crates tell everything that they would ever log.
fn loudest() -> String {
    let crates = [
        "roadstead",
        "roadstead_all_in_one",
        "roadstead_auth",
        "roadstead_authn",
        "roadstead_blobs",
        "roadstead_events",
        "roadstead_gateway",
        "roadstead_metadata",
        "roadstead_rpc",
        "roadstead_runtime",
        "roadstead_sqlite",
    ];
    let filters: Vec<String> = crates.iter().map(|name| format!("{name}=trace")).collect();
    format!("\"info,{}\"", filters.join(","))
}

async fn no_secret_is_in_anything_that_was_written_or_said(mode: Mode) -> Result<()> {
    let (spans, collector) = Spans::collect().await?;
    let organisation = Organisation::start_with(mode, &[], |setup| {
        setup
            .with("runtime.log_filter", &loudest())
            .with_environment("OTEL_EXPORTER_OTLP_ENDPOINT", &collector)
            .with_environment("OTEL_BSP_SCHEDULE_DELAY", "50")
    })
    .await?;
    let mut day = Day {
        secrets: Secrets::default(),
        said: Vec::new(),
        organisation: &organisation,
        registry: organisation.cluster.anonymous()?,
    };
    let access = day.a_workload_pushes().await?;
    day.a_person_stays().await?;
    day.a_pull_token_is_used_and_ends().await?;
    day.much_is_refused(&access).await?;
    let Day {
        mut secrets, said, ..
    } = day;

    let data = organisation.cluster.home().data();
    for key in ["auth/sealing.key", "seal.key"] {
        let sealing = std::fs::read_to_string(data.join(key))?;
        secrets.keep("the operator", sealing.trim());
    }
    eventually(
        "what happened was exported",
        Duration::from_secs(20),
        async || Ok(spans.text().contains("TokenService/Exchange").then_some(())),
    )
    .await?;
    for (what, content) in said {
        secrets.check(&what, &content)?;
    }
    for address in admin_addresses(&organisation) {
        let metrics = organisation.cluster.anonymous()?;
        let metrics = metrics.get(&format!("http://{address}/metrics")).await?;
        secrets.check("a metric", &metrics.body)?;
    }
    let logs = organisation.cluster.home().logs();
    let home = organisation.stop_and_keep().await?;
    // The spans of the last requests come with the stop.
    secrets.check("a span", spans.text().as_bytes())?;
    let mut searched = Vec::new();
    for directory in [home.data(), logs] {
        search(&directory, &secrets, &mut searched)?;
    }
    // What is no secret is found by the same search: in the databases, the logs and the spans.
    let holds = |part: &str| {
        let mut files = searched.iter().filter(|(name, _)| name.contains(part));
        files.any(|(_, content)| find(content, b"repo:acme/web:ref:refs/heads/main"))
    };
    let log = if mode == Mode::Split {
        "auth.log"
    } else {
        "roadstead.stderr"
    };
    for part in ["auth.db", "events.db", log] {
        ensure!(holds(part), "{part} was not searched");
    }
    ensure!(
        spans.text().contains(REPOSITORY),
        "the spans are of something else"
    );
    Ok(())
}

/// What happens, and what the registry says to it.
struct Day<'a> {
    secrets: Secrets,
    said: Vec<(String, Vec<u8>)>,
    organisation: &'a Organisation,
    registry: Registry,
}

impl Day<'_> {
    fn kept(&mut self, whose: &'static str, answer: &Value, name: &str) -> Result<String> {
        let secret = answer[name].as_str();
        let secret = secret.with_context(|| format!("no {name} in {answer}"))?;
        self.secrets.keep(whose, secret);
        Ok(secret.to_owned())
    }

    /// Remembers an answer that should tell no secret.
    fn heard(&mut self, what: &str, reply: &Reply) {
        let head = format!("{:?}", reply.headers);
        self.said
            .push((what.to_owned(), [head.as_bytes(), &reply.body].concat()));
    }

    async fn a_workload_pushes(&mut self) -> Result<String> {
        let root = &self.organisation.root;
        root.create_group("acme").await?;
        let job = GitHubJob::on_branch(REPOSITORY, "main").workload();
        let identity = root.create_claim_match("acme", "ci", exactly(&job)).await?;
        root.bind(&identity.id, "registry.push", group("acme"), &[])
            .await?;
        let token = self.organisation.issuers.workload(&job);
        self.secrets.keep("the workload", &token);
        let answer = exchange(&self.registry, &token).await?.expect(200)?.json()?;
        let access = self.kept("the workload", &answer, "access_token")?;
        let caller = self.registry.with(Credential::Token(access.clone()))?;
        let session = caller.session_for(&[REPOSITORY]).await?;
        self.secrets.keep("the workload", session.token());
        session
            .push_image(REPOSITORY, "latest", &Image::small("secrets")?)
            .await?;
        session.pull_everything(REPOSITORY, "latest").await?;

        // Docker keeps a refresh token of `/token`.
        let service = self.organisation.cluster.address();
        let form = [
            ("grant_type", "password"),
            ("service", service.as_str()),
            ("client_id", "docker"),
            ("scope", "repository:acme/web:pull"),
            ("username", "_token"),
            ("password", access.as_str()),
            ("access_type", "offline"),
        ];
        let answer = self
            .registry
            .request(Method::POST, "/token")
            .form(&form)
            .send()
            .await?;
        let answer = answer.expect(200)?.json()?;
        let kept = self.kept("docker", &answer, "refresh_token")?;
        let form = [
            ("grant_type", "refresh_token"),
            ("service", service.as_str()),
            ("client_id", "docker"),
            ("scope", "repository:acme/web:pull"),
            ("refresh_token", kept.as_str()),
        ];
        let answer = self
            .registry
            .request(Method::POST, "/token")
            .form(&form)
            .send()
            .await?;
        self.kept("docker", &answer.expect(200)?.json()?, "access_token")?;
        Ok(access)
    }

    async fn a_person_stays(&mut self) -> Result<()> {
        let token = self.organisation.issuers.person("olivia");
        self.secrets.keep("olivia", &token);
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
            ("subject_token", token.as_str()),
            ("scope", "offline_access"),
        ];
        let request = self.registry.request(Method::POST, "/sts/exchange").form(&form);
        let answer = request.send().await?.expect(200)?.json()?;
        self.kept("olivia", &answer, "access_token")?;
        let mut refresh = self.kept("olivia", &answer, "refresh_token")?;
        for _ in 0..2 {
            let form = [
                ("grant_type", "refresh_token"),
                ("refresh_token", refresh.as_str()),
            ];
            let request = self.registry.request(Method::POST, "/sts/exchange").form(&form);
            let answer = request.send().await?.expect(200)?.json()?;
            self.kept("olivia", &answer, "access_token")?;
            refresh = self.kept("olivia", &answer, "refresh_token")?;
        }
        let form = [("token", refresh.as_str())];
        let request = self.registry.request(Method::POST, "/sts/revoke").form(&form);
        self.heard("a logout", &request.send().await?.expect(200)?);
        Ok(())
    }

    async fn a_pull_token_is_used_and_ends(&mut self) -> Result<()> {
        let root = &self.organisation.root;
        let created = root.create_pull_token("staging", vec![group("acme")]).await?;
        let id = created.pull_token.unwrap_or_default().id;
        let request = RotatePullTokenRequest {
            id: id.clone(),
            ttl: 0,
            overlap: 3_600,
        };
        let rotated = root.pull_tokens().rotate_pull_token(request).await?.into_inner();
        for secret in [&created.token, &rotated.token] {
            self.secrets.keep("the pull token", secret);
            let holder = self.registry.with(Credential::Token(secret.clone()))?;
            let session = holder.session_for(&[REPOSITORY]).await?;
            self.secrets.keep("the pull token", session.token());
            session.pull_everything(REPOSITORY, "latest").await?;
        }
        root.pull_tokens()
            .revoke_pull_token(RevokePullTokenRequest { id })
            .await?;
        let holder = self.registry.with(Credential::Token(rotated.token))?;
        let refused = holder.ask_token(&[]).await?.expect(401)?;
        self.heard("a revoked pull token's refusal", &refused);
        Ok(())
    }

    /// Good tokens at the wrong doors, and tokens that are not quite good.
    async fn much_is_refused(&mut self, access: &str) -> Result<()> {
        let spoilt = format!("{}A", &access[..access.len() - 1]);
        self.secrets.keep("a forger", &spoilt);
        for token in [access, &spoilt] {
            for (method, path) in [
                (Method::POST, "/sts/exchange"),
                (Method::GET, "/v2/acme/web/tags/list"),
                (Method::POST, "/v2/acme/web/blobs/uploads/"),
                (Method::PUT, "/v2/acme/web/manifests/latest"),
            ] {
                let request = self.registry.request(method, path);
                let reply = request
                    .header("authorization", &format!("Bearer {token}"))
                    .send()
                    .await?;
                ensure!(reply.status.is_client_error(), "{path}: {}", reply.status);
                self.heard(path, &reply);
            }
        }
        let stranger = GitHubJob::on_branch("mallory/web", "main").workload();
        let token = self.organisation.issuers.workload(&stranger);
        self.secrets.keep("a stranger", &token);
        let answer = exchange(&self.registry, &token).await?.expect(200)?.json()?;
        let access = self.kept("a stranger", &answer, "access_token")?;
        let caller = self.registry.with(Credential::Token(access))?;
        let token = caller.token(&["repository:acme/web:pull,push"]).await?;
        self.secrets.keep("a stranger", &token);
        let session = Session::new(self.registry.clone(), token);
        let reply = session.get("/v2/acme/web/tags/list").await?.expect(403)?;
        self.heard("a denial", &reply);
        Ok(())
    }
}

/// The admin port of each process.
fn admin_addresses(organisation: &Organisation) -> Vec<String> {
    let process = organisation.cluster.process();
    let said = format!("{}{}", process.stdout(), process.stderr());
    let found = said.split(" admin ").skip(1);
    found
        .filter_map(|rest| rest.split_whitespace().next())
        .map(|address| {
            address
                .trim_matches(|c: char| !c.is_ascii_alphanumeric())
                .to_owned()
        })
        .filter(|address| address.starts_with("127.0.0.1:"))
        .collect()
}

fn find(content: &[u8], wanted: &[u8]) -> bool {
    content.windows(wanted.len()).any(|window| window == wanted)
}

/// Searches every file below a directory, and gives what was in them.
fn search(directory: &Path, secrets: &Secrets, searched: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            search(&path, secrets, searched)?;
            continue;
        }
        let name = path.display().to_string();
        if !KEY_FILES.iter().any(|ending| name.ends_with(ending)) {
            let content = std::fs::read(&path)?;
            secrets.check(&name, &content)?;
            searched.push((name, content));
        }
    }
    Ok(())
}
