//! A registry and a sandbox whose clients reach it.

use anyhow::{Context as _, Result};
use roadstead_integration_tests::image::{Image, Layer, Layout, noise};
use roadstead_integration_tests::nginx::Nginx;
use roadstead_integration_tests::{Cluster, Mode, Registry, Sandbox, Session, Transport, pki, ports};
use roadstead_types::Digest;
use serde_json::Value;
use tempfile::TempDir;

/// The name behind which nginx hides the registry. Only the sandbox knows it.
const PUBLIC_NAME: &str = "registry.test";

/// Where the registry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On loopback, over HTTP.
    Local(Mode),
    /// Behind nginx with TLS, under another name.
    BehindNginx,
}

/// Runs each listed `async fn(Place) -> Result<()>` in every place.
macro_rules! in_every_place {
    ($($scenario:ident),+ $(,)?) => {
        in_every_place!(@ all_in_one, $crate::world::Place::Local(roadstead_integration_tests::Mode::AllInOne), $($scenario)+);
        in_every_place!(@ split, $crate::world::Place::Local(roadstead_integration_tests::Mode::Split), $($scenario)+);
        in_every_place!(@ behind_nginx, $crate::world::Place::BehindNginx, $($scenario)+);
    };
    (@ $module:ident, $place:expr, $($scenario:ident)+) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() -> anyhow::Result<()> {
                Box::pin(super::$scenario($place)).await
            })+
        }
    };
}
pub(crate) use in_every_place;

/// A registry and a sandbox.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) sandbox: Sandbox,
    pub(crate) token: String,
    registry: Registry,
    nginx: Option<(Nginx, TempDir)>,
}

impl World {
    /// Starts the registry, what stands in front of it, and the sandbox.
    pub(crate) async fn open(place: Place) -> Result<Self> {
        match place {
            Place::Local(mode) => {
                let cluster = Cluster::start(mode).await?;
                let sandbox = Sandbox::new(&cluster.address(), Transport::Plain)?;
                Self::with(cluster, sandbox, None).await
            }
            Place::BehindNginx => {
                let front = tempfile::tempdir()?;
                let port = ports::free()?;
                let public = format!("{PUBLIC_NAME}:{port}");
                let tls = pki::mint(front.path(), PUBLIC_NAME)?;
                let cluster = Cluster::setup(Mode::Split)
                    .with("gateway.public_url", &format!("\"https://{public}\""))
                    .with("gateway.trusted_proxies", "[\"127.0.0.1/32\"]")
                    .start()
                    .await?;
                let nginx = Nginx::start(front.path(), PUBLIC_NAME, port, &cluster.address(), &tls).await?;
                let transport = Transport::Tls {
                    name: PUBLIC_NAME.to_owned(),
                    ca: tls.ca,
                };
                let sandbox = Sandbox::new(&public, transport)?;
                Self::with(cluster, sandbox, Some((nginx, front))).await
            }
        }
    }

    async fn with(cluster: Cluster, sandbox: Sandbox, nginx: Option<(Nginx, TempDir)>) -> Result<Self> {
        let token = cluster.access_token().await?;
        let registry = cluster.developer().await?.known_as(sandbox.registry());
        Ok(Self {
            cluster,
            sandbox,
            token,
            registry,
            nginx,
        })
    }

    /// Stops everything.
    pub(crate) async fn close(self) -> Result<()> {
        self.sandbox.close().await?;
        if let Some((nginx, _)) = self.nginx {
            nginx.stop().await?;
        }
        self.cluster.stop().await.map(drop)
    }

    /// `<registry>/<name>`, for example `127.0.0.1:5000/lib/one:v1`.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.sandbox.registry())
    }

    /// Whether clients speak HTTP.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.sandbox.transport(), Transport::Plain)
    }

    /// What podman, buildah and skopeo need to reach the registry, with a prefix like `src-` before the flag's name.
    pub(crate) fn tls_flag(&self, prefix: &str) -> String {
        match self.sandbox.transport() {
            Transport::Plain => format!("--{prefix}tls-verify=false"),
            Transport::Tls { .. } => format!("--{prefix}cert-dir={}", self.sandbox.certificates().display()),
        }
    }

    /// Logs a client in with the access token on its standard input. `arguments` end with the registry, before which some
    /// clients want every flag.
    pub(crate) async fn log_in(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let (registry, before) = arguments.split_last().context("no registry")?;
        let arguments = [before, &["-u", "_token", "--password-stdin", registry]].concat();
        self.sandbox
            .run_with(program, &arguments, Some(&self.token))
            .await
            .map(drop)
    }

    /// The registry as the test sees it, past the client and the proxy.
    pub(crate) async fn session(&self, repository: &str) -> Result<Session> {
        self.registry.session_for(&[repository]).await
    }

    /// The digest under a reference.
    pub(crate) async fn digest(&self, repository: &str, reference: &str) -> Result<Digest> {
        let reply = self
            .session(repository)
            .await?
            .head(&format!("/v2/{repository}/manifests/{reference}"))
            .await?;
        Digest::parse(reply.expect(200)?.header("docker-content-digest")?).context("the digest of a manifest")
    }

    /// The manifest under a reference.
    pub(crate) async fn manifest(&self, repository: &str, reference: &str) -> Result<Value> {
        let reply = self
            .session(repository)
            .await?
            .get(&format!("/v2/{repository}/manifests/{reference}"))
            .await?;
        reply.expect(200)?.json()
    }

    /// Whether nothing is under a reference.
    pub(crate) async fn is_gone(&self, repository: &str, reference: &str) -> Result<bool> {
        let reply = self
            .session(repository)
            .await?
            .head(&format!("/v2/{repository}/manifests/{reference}"))
            .await?;
        Ok(reply.status == 404)
    }

    /// Requires every layer of an image to be compressed with zstd.
    pub(crate) async fn require_zstd(&self, repository: &str, reference: &str) -> Result<()> {
        let manifest = self.manifest(repository, reference).await?;
        let layers = manifest["layers"].as_array().context("no layers")?;
        let zstd = |layer: &Value| {
            layer["mediaType"]
                .as_str()
                .is_some_and(|media_type| media_type.ends_with("+zstd"))
        };
        anyhow::ensure!(
            !layers.is_empty() && layers.iter().all(zstd),
            "not zstd: {manifest}"
        );
        Ok(())
    }

    /// A layout with `one` (an image of two layers), `zstd` (the like with zstd) and `multi` (an index over two
    /// platforms), and the index's digest.
    pub(crate) fn layout(&self) -> Result<(Layout, Digest)> {
        let large = noise(7, 3 << 20);
        let one = Image::new(
            "amd64",
            &[Layer::gzip("etc/one", b"one")?, Layer::gzip("var/noise", &large)?],
        )?;
        let arm = Image::new("arm64", &[Layer::gzip("etc/one", b"one, on arm64")?])?;
        let zstd = Image::new(
            "amd64",
            &[
                Layer::zstd("etc/one", b"one, zstd")?,
                Layer::zstd("var/noise", &large)?,
            ],
        )?;
        let mut layout = Layout::create(self.sandbox.work().join("layout"))?;
        layout.add_image("one", &one)?;
        layout.add_image("zstd", &zstd)?;
        let digest = layout.add_index("multi", &[("amd64", &one), ("arm64", &arm)])?;
        Ok((layout, digest))
    }

    /// Pushes the layout's images with skopeo, for clients that can only pull what they cannot make.
    pub(crate) async fn push_layout(&self, repository: &str) -> Result<Digest> {
        let (layout, digest) = self.layout()?;
        self.log_in("skopeo", &["login", &self.tls_flag(""), self.sandbox.registry()])
            .await?;
        for tag in ["one", "zstd", "multi"] {
            let from = format!("oci:{}:{tag}", layout.path().display());
            let to = format!("docker://{}", self.name(&format!("{repository}:{tag}")));
            self.sandbox
                .run("skopeo", &["copy", "--all", &self.tls_flag("dest-"), &from, &to])
                .await?;
        }
        Ok(digest)
    }
}

/// The one digest in a client's output.
pub(crate) fn digest_in(output: &str) -> Result<Digest> {
    let found = output
        .split(|c: char| c.is_whitespace() || "@\"'(),".contains(c))
        .find_map(|word| Digest::parse(word).ok());
    found.with_context(|| format!("no digest in {output:?}"))
}

/// The lines of a listing, sorted.
pub(crate) fn lines(output: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = output
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.sort_unstable();
    lines
}
