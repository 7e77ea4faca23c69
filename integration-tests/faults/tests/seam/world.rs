//! A registry in this process, with faults on demand.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use roadstead_all_in_one::{Edges, Options, Running, start};
use roadstead_integration_tests::{Credential, Registry, Reply, Session};
use roadstead_rpc::{CallPolicy, Peer, RpcChannel, RpcServer, TaskSet};
use roadstead_runtime::{ConfigSources, ConfigTree, ConfigValue, PublicAddress};
use roadstead_testkit::{OidcIssuer, RpcFaults, TestDirectory, test_dir};
use roadstead_types::Clock;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::store::Store;

/// How calls between the services travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// As in `roadstead serve`.
    InProcess,
    /// As between processes, but for sockets and TLS: HTTP/2 in memory.
    Http2,
}

/// Runs each listed `async fn(Transport) -> Result<()>` over both transports.
macro_rules! over_both_transports {
    ($($scenario:ident),+ $(,)?) => {
        mod in_process {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() -> anyhow::Result<()> {
                Box::pin(super::$scenario($crate::world::Transport::InProcess)).await
            })+
        }
        mod over_http2 {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() -> anyhow::Result<()> {
                Box::pin(super::$scenario($crate::world::Transport::Http2)).await
            })+
        }
    };
}
pub(crate) use over_both_transports;

/// What a started registry is made of.
pub(crate) struct Plan {
    /// Configuration keys beyond those that every test needs.
    settings: Vec<(String, ConfigValue)>,
    transport: Transport,
    policy: CallPolicy,
    clock: Clock,
    directory: TestDirectory,
    data: PathBuf,
}

impl Plan {
    pub(crate) fn new() -> Self {
        let directory = test_dir();
        Self {
            settings: Vec::new(),
            transport: Transport::InProcess,
            policy: CallPolicy::default(),
            clock: Clock::system(),
            data: directory.path().join("data"),
            directory,
        }
    }

    pub(crate) fn with(mut self, key: &str, value: impl Into<ConfigValue>) -> Self {
        self.settings.push((key.to_owned(), value.into()));
        self
    }

    pub(crate) fn over(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Lets unary calls take this long.
    pub(crate) fn with_deadline(mut self, deadline: Duration) -> Self {
        self.policy.default_deadline = deadline;
        self
    }

    pub(crate) fn with_clock(mut self, clock: &Clock) -> Self {
        self.clock = clock.clone();
        self
    }

    pub(crate) fn keep_data_in(mut self, directory: &Path) -> Self {
        self.data = directory.join("data");
        self
    }

    /// Where the registry will keep its data.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) async fn start(self) -> Result<World> {
        let issuer = OidcIssuer::start(self.clock.clone()).await;
        let tree = self.tree(&issuer)?;
        let faults = RpcFaults::default();
        let network = Network {
            faults: faults.clone(),
            transport: self.transport,
            policy: self.policy,
            tasks: TaskSet::new(CancellationToken::new()),
            servers: Arc::default(),
        };
        let wiring = network.clone();
        let options = Options {
            clock: self.clock.clone(),
            edges: Edges::new(move |caller, server| wiring.connect(caller, server)),
            ..Options::new(tree.clone())
        };
        let running = Box::pin(start(options)).await?;
        let anonymous = Registry::new(&format!("http://{}", running.address), Credential::None)?;
        let access_token = exchange(&anonymous, &issuer).await?.expect(200)?.json()?;
        Ok(World {
            registry: anonymous.with(credential(&access_token)?)?,
            store: Store::new(self.data),
            faults,
            issuer,
            network,
            running,
            tree,
            clock: self.clock,
            _directory: self.directory,
        })
    }

    fn tree(&self, issuer: &OidcIssuer) -> Result<ConfigTree> {
        let file = self.directory.path().join("roadstead.toml");
        let url = issuer.url();
        std::fs::write(
            &file,
            format!(
                "[auth]\ndev = true\n\
                 [[auth.issuers]]\nissuer = \"{url}\"\naudience = \"roadstead\"\nallow_private = true\n\
                 [[auth.grants]]\nissuer = \"{url}\"\nsubject = \"ci\"\nprefix = \"\"\nactions = [\"*\"]\n\
                 [gateway]\nlisten = \"127.0.0.1:0\"\n\
                 [runtime]\nadmin_listen = \"127.0.0.1:0\"\ndata_dir = \"{}\"\n",
                self.data.display()
            ),
        )?;
        let sources = ConfigSources {
            file: Some(file),
            ..ConfigSources::default()
        };
        let tree = ConfigTree::load(sources)?;
        let settings = self.settings.iter().cloned();
        Ok(settings.fold(tree, |tree, (key, value)| tree.with(&key, value)))
    }
}

/// The channels between the services.
#[derive(Clone)]
struct Network {
    faults: RpcFaults,
    transport: Transport,
    policy: CallPolicy,
    /// The servers' ends of HTTP/2.
    tasks: TaskSet,
    /// By the name of the peer; filled as the services are wired.
    servers: Arc<Mutex<BTreeMap<String, RpcServer>>>,
}

impl Network {
    fn connect(&self, caller: Peer, server: &RpcServer) -> RpcChannel {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.insert(server.peer().to_string(), server.clone());
        // Deadlines and retries are above the faults, so here are none.
        let bare = CallPolicy {
            max_attempts: 1,
            default_deadline: Duration::from_hours(1),
            ..self.policy
        };
        let channel = match self.transport {
            Transport::InProcess => RpcChannel::in_process(server, caller, bare),
            Transport::Http2 => RpcChannel::over_pipe(server, caller, bare, &self.tasks),
        };
        channel.layer(self.faults.clone()).restacked(self.policy)
    }

    fn gateway_to(&self, server: Peer) -> Result<RpcChannel> {
        let servers = self
            .servers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let server = servers.get(&server.to_string()).context("no such server")?;
        Ok(self.connect(Peer::Gateway, server))
    }
}

/// A running registry and whoever uses it.
pub(crate) struct World {
    pub(crate) faults: RpcFaults,
    /// Called by an identity that may do everything.
    pub(crate) registry: Registry,
    pub(crate) store: Store,
    issuer: OidcIssuer,
    network: Network,
    running: Running,
    tree: ConfigTree,
    clock: Clock,
    _directory: TestDirectory,
}

impl World {
    pub(crate) async fn start() -> Result<Self> {
        Plan::new().start().await
    }

    pub(crate) async fn session(&self, repositories: &[&str]) -> Result<Session> {
        self.registry.session_for(repositories).await
    }

    /// Shows the identity token and gives the answer as it is.
    pub(crate) async fn exchange(&self) -> Result<Reply> {
        exchange(&self.registry, &self.issuer).await
    }

    /// The registry, called with an access token got just now.
    pub(crate) async fn log_in(&self) -> Result<Registry> {
        let answer = self.exchange().await?.expect(200)?.json()?;
        self.registry.with(credential(&answer)?)
    }

    /// A counter or gauge of this process, over all its labels.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64> {
        let url = format!("http://{}/metrics", self.running.admin);
        let reply = self.registry.get(&url).await?.expect(200)?;
        let text = String::from_utf8_lossy(&reply.body);
        let samples = text
            .lines()
            .filter(|line| line.starts_with(name))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(samples.sum())
    }

    /// Starts a further gateway before the same services, known by the same address.
    pub(crate) async fn another_gateway(&self) -> Result<Gateway> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let tree = self
            .tree
            .clone()
            .with("gateway.public_url", self.running.public_url.as_str())
            .with("gateway.listen", address.to_string());
        let shutdown = CancellationToken::new();
        let deps = roadstead_gateway::Deps {
            clock: self.clock.clone(),
            public: PublicAddress::from_tree(&tree)?,
            auth: self.network.gateway_to(Peer::Auth)?,
            metadata: self.network.gateway_to(Peer::Metadata)?,
            blobs: self.network.gateway_to(Peer::Blobs)?,
            events: self.network.gateway_to(Peer::Events)?,
            shutdown: shutdown.clone(),
        };
        let gateway = roadstead_gateway::build(tree.section("gateway")?, deps).await?;
        let readiness = gateway.readiness.clone();
        #[expect(clippy::disallowed_methods, reason = "ends with the test")]
        tokio::spawn(async move { gateway.serve(listener).await });
        let service = self.running.public_url.authority().to_owned();
        let registry = Registry::new(&format!("http://{address}"), Credential::None)?.known_as(&service);
        Ok(Gateway {
            registry,
            readiness,
            shutdown,
        })
    }

    /// Stops as a program does; an error means that something did not end in time.
    pub(crate) async fn stop(self) -> Result<()> {
        self.running.stop().await?;
        let left = self.network.tasks.stop(PATIENCE).await;
        ensure!(left.is_empty(), "still running: {left:?}");
        Ok(())
    }
}

/// A gateway beside the first.
pub(crate) struct Gateway {
    /// Called by nobody in particular.
    pub(crate) registry: Registry,
    pub(crate) readiness: roadstead_rpc::Readiness,
    shutdown: CancellationToken,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn exchange(registry: &Registry, issuer: &OidcIssuer) -> Result<Reply> {
    let identity = issuer.issue(&json!({ "aud": "roadstead", "sub": "ci" }));
    let request = registry.request(Method::POST, "/sts/exchange");
    request.form(&[("subject_token", &identity)]).send().await
}

fn credential(answer: &Value) -> Result<Credential> {
    let token = answer["access_token"].as_str().context("no access token")?;
    Ok(Credential::Token(token.to_owned()))
}

/// How long something may take that needs no more than a few milliseconds on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Requires the answer that means "try again": its status, code and `Retry-After`, and not a word about the inside.
pub(crate) fn unavailable(reply: Reply) -> Result<Reply> {
    let reply = reply.expect(503)?;
    let seconds: u64 = reply.header("retry-after")?.parse()?;
    ensure!((1..=60).contains(&seconds), "Retry-After: {seconds}");
    ensure!(
        !String::from_utf8_lossy(&reply.body).contains("injected"),
        "the cause leaked: {:?}",
        reply.body
    );
    // HEAD has none.
    if !reply.body.is_empty() {
        ensure!(reply.error_code()? == "UNAVAILABLE", "{:?}", reply.body);
    }
    Ok(reply)
}
