//! The tables of what the gateway answers to are those by which it does.

use http::{Method, header};
use roadstead_gateway::{
    Config,
    surface::{Route, routes, rpc_methods},
};

use crate::services::{Gateway, alice};

const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

fn example(route: Route) -> String {
    route
        .template
        .replace("{name}", "a/b")
        .replace("{reference}", "latest")
        .replace("{digest}", DIGEST)
        .replace("{id}", "01890a5d-ac96-774b-bcce-b302099a8057")
}

#[tokio::test]
async fn every_route_has_the_methods_that_the_table_says() {
    let gateway = Gateway::start(Config::default()).await;
    assert!(routes().count() > 12);
    for route in routes() {
        let path = example(route);
        let unlisted = gateway.http.request(Method::OPTIONS, gateway.url(&path));
        let response = unlisted.bearer_auth(gateway.push_token()).send().await.unwrap();
        assert_eq!(response.status(), 405, "{path}");
        let allowed = response.headers()[header::ALLOW].to_str().unwrap();
        let methods = |text: &str| -> std::collections::BTreeSet<String> {
            text.split(',').map(|method| method.trim().to_owned()).collect()
        };
        assert_eq!(methods(allowed), methods(route.methods), "{path}");
    }
}

#[tokio::test]
async fn every_rpc_of_the_table_is_passed_on_to_those_with_an_access_token_only() {
    let gateway = Gateway::start(Config::default()).await;
    assert!(rpc_methods().count() > 20);
    let call = async |path: &str, token: Option<String>| {
        let request = gateway
            .http
            .post(gateway.url(path))
            .header(header::CONTENT_TYPE, "application/grpc-web+proto")
            .body([0_u8; 5].to_vec());
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let response = request.send().await.unwrap();
        let in_head = response.headers().get("grpc-status").cloned();
        let body = response.text().await.unwrap();
        in_head.map_or_else(
            || {
                body.split("grpc-status:")
                    .nth(1)
                    .unwrap()
                    .trim()
                    .lines()
                    .next()
                    .unwrap()
                    .to_owned()
            },
            |status| status.to_str().unwrap().to_owned(),
        )
    };
    for path in rpc_methods() {
        assert_eq!(call(path, None).await, "16", "{path}");
        assert_eq!(call(path, Some(gateway.push_token())).await, "16", "{path}");
        // The services of this test have it on no allow-list: they refuse the gateway, which has passed it on.
        let access = gateway.keys.sign_access_token(&alice());
        assert_eq!(call(path, Some(access)).await, "7", "{path}");
    }
}
