//! `roadstead version`.

use serde_json::json;

use crate::{
    args::{Output, Version},
    cache::TokenCache,
    error::{Error, printable},
    listing::print_json,
    oidc,
    registry::Registry,
    remote,
};

const CLIENT: &str = env!("CARGO_PKG_VERSION");

pub(crate) async fn run(flags: Version) -> Result<(), Error> {
    let server = if flags.check {
        let cache = TokenCache::for_user()?;
        let (host, transport) = remote(flags.remote, &cache)?;
        let transport = cache
            .load(&host)?
            .map_or_else(|| transport.clone(), |token| token.transport(&transport));
        let registry = Registry::connect(&host, &transport).await?;
        let version = oidc::describe(&registry).await?.version;
        Some((host.to_string(), version.map(|version| printable(&version))))
    } else {
        None
    };
    let fit = server
        .as_ref()
        .map(|(_, version)| fits(CLIENT, version.as_deref()));
    match flags.output {
        Output::Json => {
            let (registry, version) = server.unzip();
            print_json(&json!({
                "client": CLIENT,
                "registry": registry,
                "server": version.flatten(),
                "fits": matches!(fit, None | Some(Ok(()))),
            }))?;
        }
        Output::Table => {
            println!("roadstead {CLIENT}");
            if let Some((host, version)) = server {
                println!(
                    "{host} {}",
                    version.as_deref().unwrap_or("does not say its version")
                );
            }
        }
    }
    if let Some(Err(warning)) = fit {
        eprintln!("roadstead: {warning}");
    }
    Ok(())
}

/// Whether a program and a registry understand each other: contracts are compatible one release both ways.
fn fits(client: &str, server: Option<&str>) -> Result<(), String> {
    let Some(server) = server else {
        return Err(
            "the registry does not say its version: it is older than this program, and may not know some of its commands"
                .to_owned(),
        );
    };
    let (Some(ours), Some(theirs)) = (release(client), release(server)) else {
        return Err(format!("the registry's version {server} is not understood"));
    };
    if ours.0 == theirs.0 && ours.1.abs_diff(theirs.1) <= 1 {
        return Ok(());
    }
    let advice = if ours < theirs {
        "install a newer roadstead"
    } else {
        "install an older roadstead, or upgrade the registry"
    };
    Err(format!(
        "version {client} of this program and {server} of the registry are more than one release apart: {advice}"
    ))
}

/// Major and minor.
fn release(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn one_release_apart_fits() {
        for (client, server, wanted) in [
            ("0.3.0", Some("0.3.9"), true),
            ("0.3.0", Some("0.2.1"), true),
            ("0.3.0", Some("0.4.0-rc.1"), true),
            ("0.3.0", Some("0.1.9"), false),
            ("0.3.0", Some("0.5.0"), false),
            ("1.0.0", Some("0.9.0"), false),
            ("0.3.0", Some("x"), false),
            ("0.3.0", None, false),
        ] {
            assert_eq!(fits(client, server).is_ok(), wanted, "{client} {server:?}");
        }
        assert!(
            fits("0.1.0", Some("0.5.0"))
                .unwrap_err()
                .contains("newer roadstead")
        );
    }
}
