//! A registry under attack: what it holds, what it must keep to itself, and whether it is still well.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use roadstead_integration_tests::image::{Image, sha256};
use roadstead_integration_tests::process::Program;
use roadstead_integration_tests::{Cluster, Mode, Session, Setup};
use serde_json::Value;

use crate::forge::Forge;
use crate::request::{Caller, REPOSITORY, Request};
use crate::secrets::Secrets;
use crate::store::Store;
use crate::table::{Case, Play};
use crate::wire::{Answer, Connection};

/// Larger bodies are sent as they are.
const LARGEST_TEMPLATE: usize = 2 * 1024 * 1024;

pub(crate) struct Arena {
    pub(crate) cluster: Cluster,
    pub(crate) session: Session,
    pub(crate) access: String,
    pub(crate) forge: Forge,
    pub(crate) store: Store,
    pub(crate) image: Image,
    dev_secret: String,
    secrets: Secrets,
    programs: Vec<Program>,
    warm_kib: u64,
}

impl Arena {
    pub(crate) async fn start(mode: Mode, setup: fn(Setup) -> Setup) -> Result<Self> {
        let cluster = setup(Cluster::setup(mode)).start().await?;
        let developer = cluster.developer().await?;
        let access = cluster.access_token().await?;
        let session = developer.session_for(&[REPOSITORY]).await?;
        let image = Image::small("hostile")?;
        session.push_image(REPOSITORY, "latest", &image).await?;
        session.pull_everything(REPOSITORY, "latest").await?;
        let keys = async |path| cluster.anonymous()?.get(path).await?.expect(200)?.json();
        let jwks: [Value; 2] = [
            keys("/.well-known/jwks/access.json").await?,
            keys("/.well-known/jwks/registry.json").await?,
        ];
        let data = cluster.home().data();
        let forge = Forge::new(&data, &access, session.token(), [&jwks[0], &jwks[1]])?;
        let programs = cluster.process().programs();
        ensure!(!programs.is_empty(), "no process of ours runs");
        let runtime = data.with_file_name("runtime/roadstead");
        let dev_secret = std::fs::read_to_string(runtime.join(format!("dev-{}.secret", cluster.port())))
            .context("the development issuer's secret")?;
        let arena = Self {
            dev_secret: dev_secret.trim().to_owned(),
            store: Store::open(&data)?,
            secrets: Secrets::new(data.parent().unwrap_or(&data)),
            warm_kib: memory(&programs, "VmHWM")?,
            cluster,
            session,
            access,
            forge,
            image,
            programs,
        };
        arena.keep_secret("the pusher", arena.session.token());
        arena.keep_secret("the pusher", &arena.access);
        arena.keep_secret("the development issuer", &arena.dev_secret);
        let sealing = std::fs::read_to_string(data.join("auth/sealing.key"))?;
        arena.keep_secret("the sealing key", sealing.trim());
        Ok(arena)
    }

    /// From here on `secret` must stand in no answer and no log.
    pub(crate) fn keep_secret(&self, whose: &str, secret: &str) {
        self.secrets.keep(whose, secret);
    }

    /// Plays one case and judges what it left behind.
    pub(crate) async fn play(&self, case: &Case) -> Result<()> {
        match &case.play {
            Play::Act(act, effect) => {
                let before = self.store.snapshot()?;
                act(self).await?;
                before.check(&self.store.snapshot()?, *effect)
            }
            Play::Ask(request, expected) => {
                let upload = self.upload_for(request).await?;
                let bytes = self.render(&case.name, request, upload.as_deref());
                let before = self.store.snapshot()?;
                let mut connection = Connection::open(&self.cluster.address()).await?;
                let answer = connection.ask(&bytes, request.is_head()).await?;
                expected.check(answer.as_ref())?;
                if let Some(answer) = &answer {
                    self.check_discretion(answer)?;
                }
                // More than one answer would mean that the request was taken for two.
                let rest = connection.closed().await?;
                ensure!(
                    rest.is_empty(),
                    "a second answer: {:?}",
                    String::from_utf8_lossy(&rest[..rest.len().min(300)])
                );
                before.check(&self.store.snapshot()?, expected.effect)?;
                self.upload_goes_on(upload.as_deref()).await
            }
        }
    }

    /// Sends one request and gives its answer, which must be discreet.
    pub(crate) async fn ask(&self, case: &str, request: &Request) -> Result<Answer> {
        let bytes = self.render(case, request, None);
        let mut connection = Connection::open(&self.cluster.address()).await?;
        let answer = connection.ask(&bytes, request.is_head()).await?;
        let answer = answer.context("closed without an answer")?;
        self.check_discretion(&answer)?;
        Ok(answer)
    }

    async fn upload_for(&self, request: &Request) -> Result<Option<String>> {
        let raw = request.raw.as_deref().unwrap_or_default();
        let wanted = [&request.target, raw]
            .iter()
            .any(|text| crate::wire::find(text, b"{upload}").is_some());
        if wanted {
            Ok(Some(self.session.open_upload(REPOSITORY).await?))
        } else {
            Ok(None)
        }
    }

    /// Whatever was refused, the upload is still there for its owner.
    async fn upload_goes_on(&self, upload: Option<&str>) -> Result<()> {
        let Some(upload) = upload else { return Ok(()) };
        self.session
            .get(upload)
            .await?
            .expect(204)
            .context("the upload is gone")?;
        self.session.delete(upload).await?.expect(204).map(drop)
    }

    /// Fills in a request.
    pub(crate) fn render(&self, case: &str, request: &Request, upload: Option<&str>) -> Vec<u8> {
        let fill = |bytes: &[u8]| self.fill(bytes, upload);
        if let Some(raw) = &request.raw {
            return fill(raw);
        }
        let mut bytes = [
            &request.method,
            b" ".as_slice(),
            &fill(&request.target),
            b" HTTP/1.1\r\n",
        ]
        .concat();
        let has = |name: &str| {
            request
                .headers
                .iter()
                .any(|(found, _)| found.eq_ignore_ascii_case(name))
        };
        let mut line = |name: &str, value: &[u8]| {
            bytes.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        };
        if !has("host") {
            line("Host", self.cluster.address().as_bytes());
        }
        let token = match &request.caller {
            Caller::Pusher => Some(self.session.token().to_owned()),
            Caller::Nobody => None,
            Caller::Forger(make) => Some(make(&self.forge)),
        };
        if let Some(token) = token {
            self.keep_secret(case, &token);
            line("Authorization", format!("Bearer {token}").as_bytes());
        }
        let body = if request.body.len() <= LARGEST_TEMPLATE {
            fill(&request.body)
        } else {
            request.body.clone()
        };
        let is_framed = has("content-length") || has("transfer-encoding");
        if !is_framed && (!body.is_empty() || [&b"PUT"[..], b"POST", b"PATCH"].contains(&&request.method[..]))
        {
            line("Content-Length", body.len().to_string().as_bytes());
        }
        for (name, value) in &request.headers {
            line(name, &fill(value));
        }
        if !has("connection") {
            line("Connection", b"close");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Puts values in place of placeholders.
    pub(crate) fn fill(&self, bytes: &[u8], upload: Option<&str>) -> Vec<u8> {
        if !bytes.contains(&b'{') {
            return bytes.to_vec();
        }
        let [config, layer] = [&self.image.blobs[0], &self.image.blobs[1]];
        let values = [
            ("{host}", self.cluster.address()),
            ("{token}", self.session.token().to_owned()),
            ("{access}", self.access.clone()),
            ("{dev-secret}", self.dev_secret.clone()),
            ("{DEV-SECRET}", self.dev_secret.to_uppercase()),
            ("{port}", self.cluster.port().to_string()),
            ("{upload}", upload.unwrap_or("{upload}").to_owned()),
            ("{blob}", sha256(layer).to_string()),
            ("{blob-size}", layer.len().to_string()),
            ("{config}", sha256(config).to_string()),
            ("{config-size}", config.len().to_string()),
            ("{manifest}", self.image.digest().to_string()),
            ("{zero}", sha256(b"this is nowhere").to_string()),
        ];
        let mut filled = bytes.to_vec();
        for (placeholder, value) in values {
            filled = replace(&filled, placeholder.as_bytes(), value.as_bytes());
        }
        filled
    }

    /// Requires that an answer tells nothing that is not the caller's.
    pub(crate) fn check_discretion(&self, answer: &Answer) -> Result<()> {
        self.secrets.check_answer(answer)?;
        let text = format!("{}{}", answer.head, String::from_utf8_lossy(&answer.body));
        match self
            .inner_addresses()
            .iter()
            .find(|address| text.contains(*address))
        {
            Some(address) if !(200..300).contains(&answer.status) => bail!("the answer names {address}"),
            _ => Ok(()),
        }
    }

    /// Where services and admin ports listen, which is for operators.
    fn inner_addresses(&self) -> BTreeSet<String> {
        let output = format!(
            "{}{}",
            self.cluster.process().stdout(),
            self.cluster.process().stderr()
        );
        let mut addresses: BTreeSet<String> = ["admin", "rpc "]
            .iter()
            .flat_map(|word| addresses_after(&output, word))
            .collect();
        addresses.remove(&self.cluster.address());
        addresses
    }

    /// The admin port of each process.
    pub(crate) fn admin_addresses(&self) -> BTreeSet<String> {
        let output = format!(
            "{}{}",
            self.cluster.process().stdout(),
            self.cluster.process().stderr()
        );
        addresses_after(&output, "admin").collect()
    }

    /// Everything that the registry wrote for its operator.
    pub(crate) fn logs(&self) -> Result<String> {
        let process = self.cluster.process();
        let mut text = format!("{}{}", process.stdout(), process.stderr());
        let directory = self.cluster.home().data().join("logs");
        for path in files(&directory) {
            text.push_str(&String::from_utf8_lossy(&std::fs::read(path)?));
        }
        Ok(text)
    }

    /// What is wrong with the registry after a table: nothing, or a list.
    pub(crate) async fn judge(&self, growth_kib: u64) -> Result<Vec<String>> {
        let mut faults = Vec::new();
        if self.cluster.process().programs() != self.programs {
            faults.push(format!("processes ended: {:?}", self.programs));
            return Ok(faults);
        }
        for address in self.admin_addresses() {
            let reply = self
                .cluster
                .anonymous()?
                .get(&format!("http://{address}/readyz"))
                .await?;
            if reply.status != 200 {
                faults.push(format!("{address} is not ready: {:?}", reply.body));
            }
            let metrics = self
                .cluster
                .anonymous()?
                .get(&format!("http://{address}/metrics"))
                .await?;
            let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
            faults.extend(
                self.secrets
                    .check("a metric", &metrics)
                    .err()
                    .map(|error| error.to_string()),
            );
        }
        let logs = self.logs()?;
        faults.extend(
            self.secrets
                .check("a log", &logs)
                .err()
                .map(|error| error.to_string()),
        );
        for word in ["panicked at", "\"level\":\"ERROR\"", "request failed"] {
            if let Some(line) = logs.lines().find(|line| line.contains(word)) {
                faults.push(format!("a log line with {word:?}: {line}"));
            }
        }
        let pulled = self.session.pull_everything(REPOSITORY, "latest").await;
        faults.extend(
            pulled
                .err()
                .map(|error| format!("the image cannot be pulled: {error:#}")),
        );
        let (warm, peak) = (self.warm_kib, memory(&self.programs, "VmHWM")?);
        if peak > warm + growth_kib {
            faults.push(format!("memory grew from {warm} to {peak} KiB"));
        }
        Ok(faults)
    }

    /// What memory did.
    pub(crate) fn growth(&self) -> Result<String> {
        let peak = memory(&self.programs, "VmHWM")?;
        Ok(format!("memory {} KiB, at most {peak} KiB", self.warm_kib))
    }

    /// The memory of all processes.
    pub(crate) fn memory_kib(&self, field: &str) -> Result<u64> {
        memory(&self.programs, field)
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.cluster.stop().await.map(drop)
    }
}

fn memory(programs: &[Program], field: &str) -> Result<u64> {
    programs.iter().map(|program| program.memory_kib(field)).sum()
}

/// Loopback addresses that stand shortly after a word.
fn addresses_after<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = String> + 'a {
    text.match_indices(word).filter_map(move |(at, _)| {
        let rest = &text[at + word.len()..];
        let start = rest.find("127.0.0.1:").filter(|start| *start <= 12)?;
        let address = rest[start..]
            .split(|letter: char| !letter.is_ascii_digit() && !".:".contains(letter))
            .next()?;
        Some(address.to_owned())
    })
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(Result::ok).map(|entry| entry.path()).collect()
}

/// Replaces every occurrence.
fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = crate::wire::find(rest, from) {
        result.extend_from_slice(&rest[..at]);
        result.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    result.extend_from_slice(rest);
    result
}

/// `Basic` credentials. They cannot hold a placeholder.
pub(crate) fn basic(user: &str, password: &str) -> String {
    let text = format!("{user}:{password}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
}
