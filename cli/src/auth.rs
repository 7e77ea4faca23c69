//! The commands about logging in, and about tokens.

use std::{io::IsTerminal as _, path::Path};

use roadstead_types::Clock;

use crate::{
    args,
    cache::{Source, TokenCache, Wanted},
    docker_config,
    error::{Error, printable},
    host::RegistryHost,
    login::{self, LoggedOut, Login},
    oidc::{Interaction, Person},
    registry::Transport,
    when,
};

pub(crate) async fn login(flags: args::Login, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    let how = way(&flags);
    let wanted = Wanted {
        audience: flags.audience,
        identity: flags.narrowing.identity,
        scopes: flags.narrowing.scopes,
        capabilities: flags.narrowing.capabilities,
    };
    let transport = flags.transport.into();
    let token = login::login(cache, clock, &flags.host, &transport, how, wanted).await?;
    let now = clock.unix_seconds();
    let until = match token.source {
        Source::Session { expires_at, .. } if expires_at > now => {
            format!("for {}, renewed by itself", when::life(expires_at - now))
        }
        _ => format!("for {}", when::life(token.expires_at - now)),
    };
    println!(
        "Logged in to {} as {} ({}) {until}.",
        flags.host,
        printable(&token.identity.subject),
        printable(&token.identity.issuer),
    );
    if token.identities.is_empty() {
        println!(
            "`roadstead auth status {}` shows what you may do there.",
            flags.host
        );
    } else {
        println!("It speaks for {}.", printable(&token.identities.join(", ")));
    }
    Ok(())
}

/// Which way to log in the flags name.
fn way(flags: &args::Login) -> Login {
    let person = |interaction| {
        Login::Person(Person {
            interaction,
            issuer: flags.issuer.clone(),
            shared_client: flags.shared_client,
        })
    };
    if let Some(file) = &flags.identity_token {
        Login::With(file.clone())
    } else if let Some(provider) = flags.provider {
        Login::As(provider)
    } else if flags.device {
        person(Interaction::Device)
    } else if flags.no_browser {
        person(Interaction::Address)
    } else if flags.browser || flags.issuer.is_some() || flags.shared_client {
        person(Interaction::Browser)
    } else {
        Login::Unattended
    }
}

pub(crate) async fn logout(
    host: &RegistryHost,
    transport: &Transport,
    cache: &TokenCache,
) -> Result<(), Error> {
    match login::log_out(cache, host, transport).await? {
        LoggedOut::NothingThere => println!("There was no login to {host}."),
        LoggedOut::Forgotten => println!("Logged out of {host}."),
        LoggedOut::OfDevIssuer => println!(
            "Logged out of {host}.\nIts development issuer gives this user a new token whenever one is asked for."
        ),
        LoggedOut::SessionEnded => println!("Logged out of {host}; the session is over."),
        LoggedOut::SessionLeft(error) => {
            println!("Logged out of {host}.");
            eprintln!(
                "roadstead: the registry was not told, so the session lasts until it ends by itself: {error}"
            );
        }
    }
    Ok(())
}

pub(crate) async fn token(
    host: &RegistryHost,
    print: bool,
    transport: &Transport,
    cache: &TokenCache,
    clock: &Clock,
) -> Result<(), Error> {
    if !print && std::io::stdout().is_terminal() {
        return Err(Error::Usage(format!(
            "an access token is a secret, and this is a terminal. Pipe it:\n  \
             roadstead auth token {host} | docker login {host} -u _token --password-stdin\n\
             or say --print."
        )));
    }
    let token = login::fresh_token(cache, clock, host, transport).await?;
    println!("{}", token.access_token);
    Ok(())
}

pub(crate) fn configure_docker(host: &RegistryHost, bin_directory: Option<&Path>) -> Result<(), Error> {
    let installed = docker_config::configure(host, bin_directory)?;
    let verb = if installed.changed {
        "names"
    } else {
        "already names"
    };
    println!(
        "{} {verb} the credential helper for {host}.",
        installed.config.display()
    );
    println!("The helper is {}.", installed.helper.display());
    if !installed.on_path {
        let directory = installed.helper.parent().unwrap_or(Path::new("."));
        println!(
            "Its directory is NOT on PATH, so clients will not find it. Do one of these:\n  \
             export PATH=\"{}:$PATH\"\n  \
             roadstead auth configure-docker {host} --bin-dir DIR   (a directory on PATH)",
            directory.display()
        );
    }
    Ok(())
}
