//! The kubelet's credential provider plugin (`credentialprovider.kubelet.k8s.io/v1`): a pod's service account token in,
//! the registry's access token out. Nothing is kept on the node.
//!
//! The kubelet runs it under its own name, and logs what it prints to standard error.

use std::{collections::BTreeMap, io::Read as _};

use serde::{Deserialize, Serialize};

use crate::{
    ambient::jwt,
    args::Kubelet,
    cache::Wanted,
    credential_helper::USER_NAME,
    error::Error,
    host::RegistryHost,
    login::exchange::{self, Subject},
    registry::{Registry, Transport},
};

/// The name under which this program is the plugin.
pub(crate) const PROGRAM: &str = "kubelet-credential-provider-roadstead";

const API_VERSION: &str = "credentialprovider.kubelet.k8s.io/v1";
const REQUEST: &str = "CredentialProviderRequest";
const RESPONSE: &str = "CredentialProviderResponse";

/// How much of a token's life the kubelet does not use, or half of it: a pull that it starts should be able to finish.
const RESERVE_SECONDS: i64 = 600;

/// What a node may do with what it is given: pull, and see that there is something to pull.
const CAPABILITIES: [&str; 2] = ["repo.pull", "repo.list"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    api_version: String,
    kind: String,
    image: String,
    #[serde(default)]
    service_account_token: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    api_version: &'static str,
    kind: &'static str,
    /// The token is good for the whole registry, for this service account.
    cache_key_type: &'static str,
    cache_duration: String,
    auth: BTreeMap<String, Credentials<'a>>,
}

#[derive(Serialize)]
struct Credentials<'a> {
    username: &'static str,
    password: &'a str,
}

/// Answers one request.
pub(crate) async fn run(flags: Kubelet) -> Result<(), Error> {
    let mut input = String::new();
    std::io::stdin()
        .read_to_string(&mut input)
        .map_err(Error::file("read", "standard input"))?;
    let request = parse(&input)?;
    let host = registry_of(&request.image)?;
    check_audience(&request.service_account_token, &host)?;
    let transport = Transport::from(flags.transport);
    let registry = Registry::connect(&host, &transport).await?;
    let subject = Subject {
        identity_token: &request.service_account_token,
        session: false,
    };
    let wanted = Wanted {
        capabilities: CAPABILITIES.map(str::to_owned).into(),
        ..Wanted::default()
    };
    let granted = exchange::exchange(&registry, &subject, &wanted).await?;
    let credentials = Credentials {
        username: USER_NAME,
        password: &granted.access_token,
    };
    let response = Response {
        api_version: API_VERSION,
        kind: RESPONSE,
        cache_key_type: "Registry",
        cache_duration: format!(
            "{}s",
            granted.expires_in - RESERVE_SECONDS.min(granted.expires_in / 2)
        ),
        auth: BTreeMap::from([(host.to_string(), credentials)]),
    };
    println!("{}", serde_json::to_string(&response).map_err(Error::internal)?);
    Ok(())
}

fn parse(input: &str) -> Result<Request, Error> {
    let request: Request = serde_json::from_str(input)
        .map_err(|error| Error::Usage(format!("standard input holds no {REQUEST}: {error}")))?;
    if request.api_version != API_VERSION || request.kind != REQUEST {
        return Err(Error::Usage(format!(
            "standard input holds {} {}, not {API_VERSION} {REQUEST}",
            crate::error::printable(&request.api_version),
            crate::error::printable(&request.kind),
        )));
    }
    if request.service_account_token.is_empty() {
        return Err(Error::Usage(
            "the kubelet sent no service account token: its CredentialProviderConfig needs tokenAttributes with \
             serviceAccountTokenAudience, and Kubernetes 1.34, or 1.33 with the feature gate \
             KubeletServiceAccountTokenForCredentialProviders"
                .to_owned(),
        ));
    }
    Ok(request)
}

/// Whoever writes an image's name chooses the registry: one that gets another's token could use it there.
fn check_audience(token: &str, host: &RegistryHost) -> Result<(), Error> {
    if jwt::is_for(token, &host.to_string()) {
        return Ok(());
    }
    Err(Error::NoIdentityToken {
        provider: "the kubelet".to_owned(),
        reason: format!(
            "the service account token is not for {host}, which the image names, so it was not sent there; \
             serviceAccountTokenAudience of the CredentialProviderConfig must be {host}, in a provider whose matchImages \
             name no other registry"
        ),
    })
}

/// The registry of an image's name. Without one it would be somebody else's.
fn registry_of(image: &str) -> Result<RegistryHost, Error> {
    let first = image.split_once('/').map(|(first, _)| first);
    let host = first.filter(|first| first.contains(['.', ':']) || *first == "localhost");
    let host = host.ok_or_else(|| {
        Error::Usage(format!(
            "the image {} names no registry",
            crate::error::printable(image)
        ))
    })?;
    RegistryHost::parse(host)
}

#[cfg(test)]
mod tests {
    use super::{parse, registry_of};

    #[test]
    fn the_registry_is_named_by_the_image() {
        for (image, host) in [
            ("registry.example.com/acme/web:v1", "registry.example.com"),
            ("127.0.0.1:5000/acme/web@sha256:00", "127.0.0.1:5000"),
            ("localhost/web", "localhost"),
            ("[::1]:5000/web", "[::1]:5000"),
        ] {
            assert_eq!(registry_of(image).unwrap().to_string(), host, "{image}");
        }
        for image in ["alpine", "library/alpine:3", "a.b:1", "user@evil.example/x", ""] {
            assert!(registry_of(image).is_err(), "{image}");
        }
    }

    #[test]
    fn only_the_version_that_is_spoken_is_answered() {
        let request = |version: &str, token: &str| {
            format!(
                r#"{{"apiVersion":"{version}","kind":"CredentialProviderRequest","image":"a.example/b","serviceAccountToken":"{token}","serviceAccountAnnotations":{{}}}}"#
            )
        };
        assert!(parse(&request("credentialprovider.kubelet.k8s.io/v1", "t")).is_ok());
        assert!(parse(&request("credentialprovider.kubelet.k8s.io/v1beta1", "t")).is_err());
        assert!(parse(&request("credentialprovider.kubelet.k8s.io/v1", "")).is_err());
        assert!(parse("").is_err());
    }
}
