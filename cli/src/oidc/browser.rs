//! Login through a browser on this machine: authorization code with PKCE (RFC 7636) and a redirect to this program
//! (RFC 8252).

use std::borrow::Cow;

use openidconnect::{
    AuthenticationFlow, AuthorizationCode, CsrfToken, Nonce, PkceCodeChallenge, RedirectUrl,
    core::CoreResponseType,
};

use super::{
    provider::Provider,
    redirect::{Expected, Redirect},
};
use crate::error::Error;

/// Has the person log in and gives the verified identity token.
pub(super) async fn identity_token(provider: &Provider, open_browser: bool) -> Result<String, Error> {
    let redirect = Redirect::listen().await?;
    let redirect_url = RedirectUrl::new(redirect.url()).map_err(Error::internal)?;
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let request = provider.client.authorize_url(
        AuthenticationFlow::<CoreResponseType>::AuthorizationCode,
        CsrfToken::new_random,
        Nonce::new_random,
    );
    let (url, state, nonce) = request
        .set_redirect_uri(Cow::Borrowed(&redirect_url))
        .add_scopes(provider.scopes.iter().cloned())
        .set_pkce_challenge(challenge)
        .url();
    if open_browser && open::that_detached(url.as_str()).is_ok() {
        eprintln!("A browser should have opened. If none did, open this address:\n\n{url}\n");
    } else {
        eprintln!("Open this address in a browser on this machine:\n\n{url}\n");
    }
    let expected = Expected {
        state: state.secret(),
        issuer: &provider.issuer,
        names_itself: provider.names_itself,
    };
    let code = redirect.code(&expected).await?;
    let answer = provider
        .client
        .exchange_code(AuthorizationCode::new(code))
        .map_err(|_| provider.refused("it has no token endpoint"))?
        .set_redirect_uri(Cow::Borrowed(&redirect_url))
        .set_pkce_verifier(verifier)
        .request_async(&provider.http())
        .await
        .map_err(|error| provider.no_token(&error))?;
    provider.verified(&answer, &nonce)
}
