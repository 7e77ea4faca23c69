//! Google Cloud: the metadata server gives tokens of the instance's or the pod's service account.

use std::fs;

use url::Url;

use super::{Token, is_set, variable};
use crate::{error::chain, registry};

/// Google's own libraries read it too.
const HOST: &str = "GCE_METADATA_HOST";
const PRODUCT: &str = "/sys/class/dmi/id/product_name";

pub(super) fn is_here() -> bool {
    // A service of Cloud Run says so itself; its machine does not.
    is_set(HOST)
        || is_set("K_SERVICE")
        || fs::read_to_string(PRODUCT).is_ok_and(|product| product.starts_with("Google"))
}

pub(super) async fn identity_token(audience: &str) -> Token {
    let host = variable(HOST).unwrap_or_else(|| "metadata.google.internal".to_owned());
    let path = "computeMetadata/v1/instance/service-accounts/default/identity";
    let mut url = Url::parse(&format!("http://{host}/{path}"))
        .map_err(|error| format!("{HOST} is not a host: {error}"))?;
    url.query_pairs_mut()
        .append_pair("audience", audience)
        .append_pair("format", "full");
    // The server is the machine's own, whatever its address: a proxy cannot reach it.
    let http = registry::http_client(true, None).map_err(|error| error.to_string())?;
    let answer = http
        .get(url)
        .header("Metadata-Flavor", "Google")
        .send()
        .await
        .map_err(|error| chain(&error.without_url()))?;
    if !answer.status().is_success() {
        return Err(format!(
            "the metadata server answered {}; does the machine have a service account?",
            answer.status()
        ));
    }
    answer.text().await.map_err(|error| chain(&error.without_url()))
}
