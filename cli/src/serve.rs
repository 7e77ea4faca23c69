//! The registry in this process.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use roadstead_all_in_one::{BusyPort, Options};
use roadstead_runtime::{ConfigError, ConfigSources, ConfigTree, ConfigValue, DEFAULT_LISTEN, Telemetry};
use roadstead_types::Clock;

use crate::{args, cache::TokenCache, error::Error, host::RegistryHost, quickstart::demonstrate};

/// Runs the registry until it is told to stop.
pub(crate) async fn serve(flags: args::Serve) -> Result<(), Error> {
    let mut overrides = Overrides::of(flags.listen, flags.data_dir);
    if flags.dev {
        overrides.dev();
    }
    let tree = overrides.load(flags.config)?;
    Box::pin(roadstead_all_in_one::serve(Options::new(tree)))
        .await
        .map_err(failed)
}

/// Runs the registry with its demonstration, and goes on serving unless told otherwise.
pub(crate) async fn quickstart(
    flags: args::Quickstart,
    cache: &TokenCache,
    clock: &Clock,
) -> Result<(), Error> {
    let wanted = flags.listen.unwrap_or(DEFAULT_LISTEN);
    let mut overrides = Overrides::of(Some(wanted), flags.data_dir);
    overrides.dev();
    let mut tree = overrides.load(None)?;
    if !tree.contains("runtime.log_filter") {
        // The steps are what is to be read.
        tree = tree.with("runtime.log_filter", "warn");
    }
    if !tree.contains("auth.client_session_ttl") {
        // The commands that are printed take turns: podman and skopeo refuse to log in where docker keeps such a token.
        tree = tree.with("auth.client_session_ttl", "0s");
    }
    let telemetry = Telemetry::from_tree("roadstead", &tree).map_err(failed)?;
    let options = Options {
        busy_port: BusyPort::TakeNext,
        clock: clock.clone(),
        ..Options::new(tree)
    };
    let running = Box::pin(roadstead_all_in_one::start(options))
        .await
        .map_err(failed)?;
    if wanted.port() != 0 && running.address != wanted {
        println!(
            "Port {} is in use; taking {} instead.",
            wanted.port(),
            running.address.port()
        );
    }
    println!("{}", running.ready_line());
    let host = RegistryHost::parse(&running.address.to_string())?;
    let outcome = Box::pin(demonstrate(cache, clock, &host)).await;
    let stopped = if flags.exit || outcome.is_err() {
        running.stop().await
    } else {
        println!("Serving on {host} until Ctrl-C.");
        running.wait().await
    };
    telemetry.flush().await;
    outcome.and(stopped.map_err(failed))
}

/// Checks or prints a configuration.
pub(crate) fn config(command: &args::Config) -> Result<(), Error> {
    let (args::Config::Check(file) | args::Config::Print(file)) = command;
    let tree = Overrides::of(None, None).load(file.config.clone())?;
    match command {
        args::Config::Check(_) => {
            roadstead_all_in_one::check(&tree).map_err(|error| Error::Usage(error.to_string()))?;
            println!("The configuration is good.");
        }
        args::Config::Print(_) => print!("{}", tree.redacted()),
    }
    Ok(())
}

/// Mints what separate services need to know each other.
pub(crate) fn certificates(directory: &Path, clock: &Clock) -> Result<(), Error> {
    roadstead_runtime::certificates::mint(directory, clock).map_err(failed)?;
    println!(
        "Wrote an authority, its services' identities and a seal key to {}.",
        directory.display()
    );
    Ok(())
}

/// What flags set, above file and environment.
struct Overrides(Vec<(String, ConfigValue)>);

impl Overrides {
    fn of(listen: Option<SocketAddr>, data_directory: Option<PathBuf>) -> Self {
        let listen = listen.map(|address| ("gateway.listen".to_owned(), address.to_string().into()));
        let data_directory = data_directory.map(|path| {
            (
                "runtime.data_dir".to_owned(),
                path.to_string_lossy().into_owned().into(),
            )
        });
        Self(listen.into_iter().chain(data_directory).collect())
    }

    fn dev(&mut self) {
        self.0
            .extend(["gateway.dev", "auth.dev"].map(|key| (key.to_owned(), true.into())));
    }

    fn load(self, file: Option<PathBuf>) -> Result<ConfigTree, Error> {
        let sources = ConfigSources {
            file,
            environment: true,
            overrides: self.0,
        };
        ConfigTree::load(sources).map_err(|error| Error::Usage(error.to_string()))
    }
}

/// An error of the services with its causes. A refused configuration is the user's to mend, whoever read it.
fn failed(error: impl Into<anyhow::Error>) -> Error {
    let error = error.into();
    if error.is::<ConfigError>() {
        return Error::Usage(format!("{error:#}"));
    }
    Error::Serve(format!("{error:#}"))
}
