//! The user's program: it runs a registry, logs in to registries, and asks them things.
//!
//! It owns the token cache of its user (`<cache>/roadstead`) and the `credHelpers` entries it writes into container
//! clients' configuration; nothing else. It never keeps anything longer-lived than an access token, never prints one
//! except where that is the command, and sends one nowhere but to the registry that it is for.
//!
//! Called as `docker-credential-roadstead` it is a credential helper. Behind the feature `serve` (default) it contains
//! the whole registry; without it, it is a client that links no service.

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
pub mod image;
mod listing;
mod login;
#[cfg(feature = "serve")]
mod next_commands;
#[cfg(feature = "serve")]
mod quickstart;
pub mod registry;
#[cfg(feature = "serve")]
mod serve;
#[cfg(feature = "serve")]
mod steps;
mod tags;
#[cfg(feature = "serve")]
mod transfer;

use std::{ffi::OsStr, path::Path};

use clap::Parser as _;
use roadstead_types::Clock;

use args::{Auth, Cli, Command, Events, Remote, Tags};
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
    let outcome = if called == Some(OsStr::new(credential_helper::PROGRAM)) {
        match TokenCache::for_user() {
            Ok(cache) => return credential_helper::run(&arguments[1..], &cache, &clock).await,
            Err(error) => Err(error),
        }
    } else {
        match Cli::try_parse_from(arguments) {
            Ok(cli) => dispatch(cli.command, &clock).await,
            Err(error) => {
                // Help and version are "errors" too, with exit code 0.
                let _ = error.print();
                return u8::try_from(error.exit_code()).unwrap_or(2);
            }
        }
    };
    match outcome {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("roadstead: {error}");
            error.exit_code()
        }
    }
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
        Command::Login(flags) => auth::login(flags, &TokenCache::for_user()?, clock).await,
        Command::Logout { host } => auth::logout(&host, &TokenCache::for_user()?),
        Command::Auth(Auth::Token { host, transport }) => {
            auth::token(&host, &transport.into(), &TokenCache::for_user()?, clock).await
        }
        Command::Auth(Auth::Status) => auth::status(&TokenCache::for_user()?, clock),
        Command::Auth(Auth::ConfigureDocker { host, bin_dir }) => {
            auth::configure_docker(&host, bin_dir.as_deref())
        }
        Command::Events(Events::List(flags)) => events::list(flags, &TokenCache::for_user()?, clock).await,
        Command::Tags(Tags::History(flags)) => tags::history(flags, &TokenCache::for_user()?, clock).await,
        Command::Version => {
            println!("roadstead {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
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
