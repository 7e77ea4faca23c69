//! The user's program: it runs a registry, logs in to registries, and asks them things.
//!
//! It owns the token cache of its user (`<cache>/roadstead`) and the `credHelpers` entries it writes into container
//! clients' configuration; nothing else. It keeps access tokens, and of a person's login the refresh token; it never
//! prints a secret except where that is the command, and sends one nowhere but to the registry that it is for.
//!
//! Called as `docker-credential-roadstead` it is a credential helper, as `kubelet-credential-provider-roadstead` a plugin
//! of the kubelet. Behind the feature `serve` (default) it contains the whole registry; without it, it is a client that
//! links no service.

mod advice;
mod ambient;
pub mod args;
mod auth;
pub mod cache;
pub mod credential_helper;
mod docker_config;
mod error;
mod events;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod grpc;
mod host;
mod iam;
pub mod image;
mod kubelet;
mod listing;
mod login;
mod manual;
#[cfg(feature = "serve")]
mod next_commands;
mod oci;
mod oidc;
mod platform;
mod pull_token;
#[cfg(feature = "serve")]
mod quickstart;
pub mod registry;
mod repos;
#[cfg(feature = "serve")]
mod serve;
mod status;
#[cfg(feature = "serve")]
mod steps;
mod tags;
#[cfg(feature = "serve")]
mod transfer;
mod version;
mod when;

use std::path::Path;

use clap::Parser;
use roadstead_types::Clock;

pub use ambient::Provider;
use args::{Auth, Cli, Command, Events, KubeletProgram, Remote};
use cache::TokenCache;
pub use error::Error;
pub use host::RegistryHost;
use registry::Transport;

/// Runs the program with its arguments, the first being the name it was called by; returns the exit code.
pub async fn run(arguments: Vec<String>) -> u8 {
    // Whoever runs in this process, services included, then finds one provider installed; a second try is no error.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let clock = Clock::system();
    let called = arguments.first().map(Path::new).and_then(Path::file_stem);
    let outcome = match called.and_then(|name| name.to_str()) {
        Some(credential_helper::PROGRAM) => match TokenCache::for_user() {
            Ok(cache) => return credential_helper::run(&arguments[1..], &cache, &clock).await,
            Err(error) => Err(error),
        },
        Some(kubelet::PROGRAM) => match parse::<KubeletProgram>(&arguments) {
            Ok(program) => kubelet::run(program.flags).await,
            Err(code) => return code,
        },
        _ => match parse::<Cli>(&arguments) {
            Ok(cli) => Box::pin(dispatch(cli.command, &clock)).await,
            Err(code) => return code,
        },
    };
    match outcome {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("roadstead: {error}");
            error.exit_code()
        }
    }
}

/// Reads a command line, or prints what is wrong with it. Help and version are "errors" too, with exit code 0.
fn parse<P: Parser>(arguments: &[String]) -> Result<P, u8> {
    P::try_parse_from(arguments).map_err(|error| {
        let _ = error.print();
        u8::try_from(error.exit_code()).unwrap_or(2)
    })
}

async fn dispatch(command: Command, clock: &Clock) -> Result<(), Error> {
    match command {
        #[cfg(feature = "serve")]
        Command::Serve(flags) => serve::serve(flags).await,
        #[cfg(feature = "serve")]
        Command::Quickstart(flags) => serve::quickstart(flags, &TokenCache::for_user()?, clock).await,
        #[cfg(feature = "serve")]
        Command::Config(command) => serve::config(&command),
        #[cfg(feature = "serve")]
        Command::Certificates { out } => serve::certificates(&out, clock),
        Command::KubeletCredentialProvider(flags) => kubelet::run(flags).await,
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { out } => manual::man(out.as_deref()),
        Command::Version(flags) => version::run(flags).await,
        with_logins => dispatch_with(with_logins, &TokenCache::for_user()?, clock).await,
    }
}

/// The commands that need the user's logins.
async fn dispatch_with(command: Command, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    match command {
        Command::Login(flags) => auth::login(*flags, cache, clock).await,
        Command::Logout { host, transport } => auth::logout(&host, &transport.into(), cache).await,
        Command::Auth(Auth::Token {
            host,
            print,
            transport,
        }) => auth::token(&host, print, &transport.into(), cache, clock).await,
        Command::Auth(Auth::Status {
            host,
            offline,
            output,
        }) => status::status(host, offline, output, cache, clock).await,
        Command::Auth(Auth::ConfigureDocker { host, bin_dir }) => {
            auth::configure_docker(&host, bin_dir.as_deref())
        }
        Command::Iam(command) => iam::run(*command, cache, clock).await,
        Command::PullToken(command) => pull_token::run(command, cache, clock).await,
        Command::Repos(command) => repos::run(command, cache, clock).await,
        Command::Tags(command) => tags::run(command, cache, clock).await,
        Command::Events(Events::List(flags)) => events::list(flags, cache, clock).await,
        other => Err(Error::Internal(format!("{other:?} needs no logins"))),
    }
}

/// The registry that a command asks: the one named by flag or environment, else that of the last login.
fn remote(remote: Remote, cache: &TokenCache) -> Result<(RegistryHost, Transport), Error> {
    let host = match remote.registry {
        Some(host) => host,
        None => cache.last_login()?.ok_or_else(|| {
            Error::Usage(
                "no registry is named and there was no login: say --registry HOST, set ROADSTEAD_REGISTRY, \
                 or run `roadstead login HOST` first"
                    .to_owned(),
            )
        })?,
    };
    Ok((host, remote.transport.into()))
}
