//! The commands about tokens.

use std::path::Path;

use roadstead_types::Clock;

use crate::{
    args,
    cache::{Source, TokenCache},
    docker_config,
    error::{Error, printable},
    host::RegistryHost,
    listing::print_table,
    login::{self, Login},
    registry::Transport,
};

pub(crate) async fn login(flags: args::Login, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    let transport = flags.transport.into();
    let how = flags
        .identity_token
        .as_deref()
        .map_or(Login::Unattended, Login::With);
    let token = login::login(cache, clock, &flags.host, &transport, how).await?;
    println!(
        "Logged in to {} as {} ({}) for {}.",
        flags.host,
        printable(&token.identity.subject),
        printable(&token.identity.issuer),
        life(token.expires_at - clock.unix_seconds())
    );
    Ok(())
}

pub(crate) fn logout(host: &RegistryHost, cache: &TokenCache) -> Result<(), Error> {
    let token = cache.load(host)?;
    if !cache.remove(host)? {
        println!("There was no login to {host}.");
        return Ok(());
    }
    println!("Logged out of {host}.");
    if token.is_some_and(|token| matches!(token.source, Source::Dev { .. })) {
        println!("Its development issuer gives this user a new token whenever one is asked for.");
    }
    Ok(())
}

pub(crate) async fn token(
    host: &RegistryHost,
    transport: &Transport,
    cache: &TokenCache,
    clock: &Clock,
) -> Result<(), Error> {
    let token = login::fresh_token(cache, clock, host, transport).await?;
    println!("{}", token.access_token);
    Ok(())
}

pub(crate) fn status(cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    let tokens = cache.list()?;
    if tokens.is_empty() {
        println!("No logins. `roadstead login HOST` makes one.");
        return Ok(());
    }
    let last = cache.last_login()?.map(|host| host.to_string());
    let rows = tokens.into_iter().map(|token| {
        let renewal = match &token.source {
            Source::Dev { .. } => "the development issuer".to_owned(),
            Source::IdentityTokenFile { path } => path.display().to_string(),
            Source::IdentityToken => "a new login".to_owned(),
        };
        [
            if last.as_ref() == Some(&token.host) {
                "*".to_owned()
            } else {
                String::new()
            },
            token.host,
            token.identity.subject,
            token.identity.issuer,
            life(token.expires_at - clock.unix_seconds()),
            renewal,
        ]
    });
    print_table(
        ["", "REGISTRY", "IDENTITY", "ISSUER", "VALID", "RENEWED FROM"],
        rows,
    );
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

fn life(seconds: i64) -> String {
    match seconds {
        i64::MIN..=0 => "expired".to_owned(),
        1..=119 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds / 60),
    }
}
