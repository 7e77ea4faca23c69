//! Login through a browser elsewhere (RFC 8628).

use openidconnect::{Nonce, core::CoreDeviceAuthorizationResponse};

use super::provider::{self, Provider};
use crate::error::{Error, printable};

/// Shows a code, waits until it was typed in somewhere, and gives the verified identity token.
pub(super) async fn identity_token(provider: &Provider) -> Result<String, Error> {
    let endpoint = provider.device_endpoint.clone().ok_or_else(|| {
        provider.refused("it does not offer login by device; use --browser or --no-browser")
    })?;
    let client = provider.client.clone().set_device_authorization_url(endpoint);
    let http = provider.http();
    let details: CoreDeviceAuthorizationResponse = client
        .exchange_device_code()
        .add_scopes(provider.scopes.iter().cloned())
        .request_async(&http)
        .await
        .map_err(|error| provider.no_token(&error))?;
    let address = details.verification_uri().as_str();
    provider::checked(address)?;
    eprintln!(
        "On any device, open\n\n{}\n\nand enter the code {}\n",
        printable(address),
        printable(details.user_code().secret())
    );
    if let Some(complete) = details.verification_uri_complete() {
        eprintln!(
            "or open, with the code filled in\n\n{}\n",
            printable(complete.secret())
        );
    }
    eprintln!(
        "Waiting for it, for at most {} minutes.",
        details.expires_in().as_secs().div_ceil(60)
    );
    let answer = client
        .exchange_device_access_token(&details)
        .map_err(|_| provider.refused("it has no token endpoint"))?
        .request_async(&http, tokio::time::sleep, None)
        .await
        .map_err(|error| provider.no_token(&error))?;
    // No browser of this machine takes part, so no nonce can: the device code is what binds the answer to the request.
    provider.verified(&answer, |_: Option<&Nonce>| Ok(()))
}
