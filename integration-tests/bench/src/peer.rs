//! Who is measured: how each is found, started in its normal configuration, and filled.

mod distribution;
mod files;
mod nginx;
pub(crate) mod permissions;
mod roadstead;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use clap::ValueEnum;
use roadstead_integration_tests::process::Process;
use roadstead_integration_tests::{Cluster, Mode, programs};
use serde::Serialize;
use tempfile::TempDir;

use crate::cases::Case;
use crate::content::Content;
use crate::peer::permissions::Permissions;
use crate::plan::Plan;
use crate::proc::Family;

/// A server that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// `roadstead serve`: one process, with authentication and access log.
    Roadstead,
    /// `deploy/local/run`: five processes under mutual TLS, with authentication and access log.
    RoadsteadSplit,
    /// Debian's package: distribution 2.8.
    DockerRegistry,
    /// Distribution 3.
    DistributionV3,
    /// The same bytes as files: what the machine can do.
    Nginx,
}

/// A peer that is up.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) peer: Peer,
    pub(crate) port: u16,
    pub(crate) family: Family,
    /// Everything that it stores lies in here.
    pub(crate) data: PathBuf,
    /// There until it is stopped.
    host: Option<Host>,
}

#[derive(Debug)]
enum Host {
    Roadstead {
        cluster: Box<Cluster>,
        access_token: String,
        permissions: Permissions,
    },
    /// Another project's program, and its directory.
    Program { process: Process, _directory: TempDir },
}

/// What a client needs for one case.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Pull,
    Push,
    /// Pull and push everywhere, before anything is measured.
    Fill,
    Token,
    /// An access token of one of very many identities.
    TokenMany,
    /// An identity token of the same.
    Exchange,
}

impl Peer {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Roadstead => "roadstead",
            Self::RoadsteadSplit => "roadstead, split",
            Self::DockerRegistry => "docker-registry",
            Self::DistributionV3 => "distribution v3",
            Self::Nginx => "nginx",
        }
    }

    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Roadstead | Self::RoadsteadSplit)
    }

    /// A registry that Roadstead is compared with.
    pub(crate) fn is_rival(self) -> bool {
        !self.is_ours() && self != Self::Nginx
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// When it is not there; the error says how to get it.
    pub(crate) fn version(self, plan: &Plan) -> Result<String> {
        match self {
            Self::Roadstead => said(&programs::ours("roadstead")?, "--version"),
            Self::RoadsteadSplit => roadstead::split_version(),
            Self::DockerRegistry => said(&distribution::debian()?, "--version"),
            Self::DistributionV3 => {
                let program = distribution::v3(plan)?;
                let version = said(&program, "--version").context(distribution::HOW_TO_GET_V3)?;
                ensure!(
                    version.contains("/distribution/v3 "),
                    "{} is not distribution v3 but {version}; {}",
                    program.display(),
                    distribution::HOW_TO_GET_V3
                );
                Ok(version)
            }
            Self::Nginx => said(&nginx::program()?, "-v"),
        }
    }

    /// Why it can't do a case, if it can't.
    pub(crate) fn lacks(self, case: Case) -> Option<&'static str> {
        match (self, case) {
            (Self::Nginx, Case::PushPut | Case::PushPatch) => Some("serves files only"),
            (
                Self::Nginx | Self::DockerRegistry | Self::DistributionV3,
                Case::Token | Case::TokenMany | Case::Exchange,
            ) => Some("issues no tokens"),
            (Self::DockerRegistry, Case::TagPage | Case::TagPageMany) => {
                Some("has no pages: it answers all tags at once")
            }
            (Self::DistributionV3, Case::TagPageMany) => {
                Some("a tag is four directories and two files, too many of them for one run")
            }
            _ => None,
        }
    }

    /// Whether what it answered 201 to is on the disk, as its source says and `strace` shows.
    pub(crate) fn durability(self) -> Option<&'static str> {
        match self {
            Self::Roadstead | Self::RoadsteadSplit => {
                Some("fsync of file, directory and database before 201")
            }
            Self::DockerRegistry | Self::DistributionV3 => {
                Some("fsync of file, not of directory, before 201")
            }
            Self::Nginx => None,
        }
    }

    /// Starts it, empty.
    pub(crate) async fn start(self, plan: &Plan) -> Result<Running> {
        match self {
            Self::Roadstead => roadstead::start(self, Mode::AllInOne, plan).await,
            Self::RoadsteadSplit => roadstead::start(self, Mode::Split, plan).await,
            Self::DockerRegistry => {
                let program = distribution::debian()?;
                distribution::start(self, &program, distribution::DEBIAN_CONFIGURATION, plan).await
            }
            Self::DistributionV3 => {
                let program = distribution::v3(plan)?;
                distribution::start(self, &program, distribution::V3_CONFIGURATION, plan).await
            }
            Self::Nginx => nginx::start(plan).await,
        }
    }
}

impl Running {
    /// Stores what the cases need.
    pub(crate) async fn fill(&self, plan: &Plan, content: &Content) -> Result<()> {
        match self.peer {
            Peer::Roadstead | Peer::RoadsteadSplit => roadstead::fill(self, plan, content).await,
            Peer::DockerRegistry | Peer::DistributionV3 => distribution::fill(self, plan, content).await,
            Peer::Nginx => nginx::fill(self, plan, content),
        }
    }

    /// The `Authorization` for a purpose, fresh, because registry tokens last minutes.
    pub(crate) async fn authorization(&self, purpose: Purpose) -> Result<Option<String>> {
        match &self.host {
            Some(Host::Roadstead {
                cluster,
                access_token,
                permissions,
            }) => match purpose {
                Purpose::TokenMany => {
                    let token = permissions.access_token(cluster).await?;
                    Ok(Some(basic(&token)))
                }
                Purpose::Exchange => Ok(Some(format!("Bearer {}", permissions.identity_token()))),
                purpose => roadstead::authorization(cluster, access_token, purpose)
                    .await
                    .map(Some),
            },
            Some(Host::Program { .. }) | None => Ok(None),
        }
    }

    /// Removes the bytes of finished pushes, so that a run needs no more space than its longest case.
    pub(crate) fn discard(&self, digests: &[String]) -> Result<()> {
        files::discard(&self.data, digests)
    }

    /// Ends it; its directory goes with it.
    pub(crate) fn stop(mut self) {
        self.family.kill();
        match self.host.take() {
            Some(Host::Roadstead { cluster, .. }) => drop(cluster.kill()),
            Some(Host::Program { process, .. }) => process.kill(),
            None => {}
        }
    }
}

impl Drop for Running {
    /// The harness finds processes by a variable in their environment, which nginx's workers do not keep.
    fn drop(&mut self) {
        if self.host.is_some() {
            self.family.kill();
        }
    }
}

/// A token as clients of `/token` send it.
fn basic(token: &str) -> String {
    let pair = format!("_token:{token}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

/// The first line that a program prints about itself.
fn said(program: &Path, flag: &str) -> Result<String> {
    let output = Command::new(program)
        .arg(flag)
        .output()
        .with_context(|| format!("run {}", program.display()))?;
    // nginx says it on standard error.
    for text in [output.stdout, output.stderr] {
        if let Some(line) = String::from_utf8_lossy(&text).lines().next() {
            let name = program.to_string_lossy();
            return Ok(line.trim_start_matches(&*name).trim().to_owned());
        }
    }
    bail!("{} {flag} says nothing", program.display())
}
