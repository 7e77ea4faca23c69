//! Challenges, denials and what every answer carries.

use http::{StatusCode, header};
use roadstead_gateway::Config;
use roadstead_proto::auth::v1::watermark::Subject;
use roadstead_rpc::ErrorReason;
use roadstead_types::Principal;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::services::{Gateway, alice};

async fn get(gateway: &Gateway, path: &str, token: Option<&str>) -> reqwest::Response {
    let request = gateway.http.get(gateway.url(path));
    token
        .map_or(request.try_clone().unwrap(), |token| request.bearer_auth(token))
        .send()
        .await
        .unwrap()
}

fn challenge(response: &reqwest::Response) -> String {
    let lines: Vec<_> = response
        .headers()
        .get_all(header::WWW_AUTHENTICATE)
        .iter()
        .collect();
    assert_eq!(lines.len(), 1, "exactly one challenge");
    lines[0].to_str().unwrap().to_owned()
}

fn expected(gateway: &Gateway, rest: &str) -> String {
    let address = gateway.address;
    format!("Bearer realm=\"http://{address}/token\",service=\"{address}\"{rest}")
}

#[tokio::test]
async fn the_base_is_for_holders_of_tokens() {
    let gateway = Gateway::start(Config::default()).await;
    let response = get(&gateway, "/v2/", None).await;
    assert_eq!(response.status(), 401);
    assert_eq!(challenge(&response), expected(&gateway, ""));
    assert_eq!(
        response.headers()["docker-distribution-api-version"],
        "registry/2.0"
    );
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(body["errors"][0]["code"], "UNAUTHORIZED");

    assert_eq!(
        get(&gateway, "/v2/", Some(&gateway.token(&[]))).await.status(),
        200
    );
    let anonymous = gateway.keys.sign_registry_token(&Principal::anonymous(), &[]);
    assert_eq!(get(&gateway, "/v2/", Some(&anonymous)).await.status(), 200);

    let wrong = [
        gateway.keys.registry_token(&alice()).expired().sign(),
        gateway.keys.with_new_keys().sign_registry_token(&alice(), &[]),
        gateway.keys.sign_access_token(&alice()),
        "nonsense".to_owned(),
    ];
    for token in wrong {
        let response = get(&gateway, "/v2/", Some(&token)).await;
        assert_eq!(response.status(), 401);
        assert_eq!(
            challenge(&response),
            expected(&gateway, ",error=\"invalid_token\"")
        );
    }
}

#[rstest]
#[case("GET", "/v2/a/b/manifests/latest", "repository:a/b:pull")]
#[case("HEAD", "/v2/a/b/manifests/latest", "repository:a/b:pull")]
#[case("GET", "/v2/a/b/tags/list", "repository:a/b:pull")]
#[case("POST", "/v2/a/b/blobs/uploads/", "repository:a/b:pull,push")]
#[case("PUT", "/v2/a/b/manifests/latest", "repository:a/b:pull,push")]
#[case(
    "PATCH",
    "/v2/a/b/blobs/uploads/00000000-0000-4000-8000-000000000000",
    "repository:a/b:pull,push"
)]
#[case(
    "DELETE",
    "/v2/a/b/blobs/uploads/00000000-0000-4000-8000-000000000000",
    "repository:a/b:pull,push"
)]
#[case("DELETE", "/v2/a/b/manifests/latest", "repository:a/b:delete")]
#[case("GET", "/v2/_catalog", "registry:catalog:*")]
#[tokio::test]
async fn each_method_asks_for_its_scope(#[case] method: &str, #[case] path: &str, #[case] scope: &str) {
    let gateway = Gateway::start(Config::default()).await;
    let method: reqwest::Method = method.parse().unwrap();
    let response = gateway
        .http
        .request(method.clone(), gateway.url(path))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(
        challenge(&response),
        expected(&gateway, &format!(",scope=\"{scope}\""))
    );

    // A token for something else: ask for another.
    let token = gateway.token(&["repository:other:pull,push"]);
    let response = gateway
        .http
        .request(method.clone(), gateway.url(path))
        .bearer_auth(&token)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 401);
    let rest = format!(",scope=\"{scope}\",error=\"insufficient_scope\"");
    assert_eq!(challenge(&response), expected(&gateway, &rest));
}

#[tokio::test]
async fn a_refused_scope_is_a_denial_for_those_with_an_identity() {
    let gateway = Gateway::start(Config::default()).await;
    let denied = gateway
        .keys
        .registry_token(&alice())
        .denied("repository:a/b:pull,push")
        .sign();
    for path in ["/v2/a/b/manifests/latest", "/v2/a/b/tags/list"] {
        let response = get(&gateway, path, Some(&denied)).await;
        assert_eq!(response.status(), 403, "{path}");
        let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        let error = &body["errors"][0];
        assert_eq!(error["code"], "DENIED");
        assert_eq!(error["detail"]["action"], "pull");
        assert_eq!(error["detail"]["resource"], "repository:a/b");
        assert_eq!(error["detail"]["capability"], "repo.pull");
        assert_eq!(error["detail"]["identity"]["subject"], "alice");
        let message = error["message"].as_str().unwrap();
        for part in [
            "alice (https://issuer.example) may not pull from a/b",
            "the capability repo.pull on repository a/b",
            "Run: roadstead iam explain --repo a/b --action pull",
        ] {
            assert!(message.contains(part), "{part} in {message}");
        }
    }
    let push = gateway
        .http
        .post(gateway.url("/v2/a/b/blobs/uploads/"))
        .bearer_auth(&denied)
        .send()
        .await
        .unwrap();
    assert_eq!(push.status(), 403);

    let nobody = Principal::anonymous();
    let denied = gateway
        .keys
        .registry_token(&nobody)
        .denied("repository:a/b:pull")
        .sign();
    let response = get(&gateway, "/v2/a/b/tags/list", Some(&denied)).await;
    assert_eq!(response.status(), 401);
    assert!(challenge(&response).ends_with("error=\"insufficient_scope\""));
}

#[tokio::test]
async fn a_denial_says_what_auth_found_missing_and_has_room_for_the_next_command() {
    let gateway = Gateway::start(Config::default()).await;
    let name = format!("{}/{}", "a".repeat(100), "b".repeat(100));
    let long = Principal::new("https://issuer.example", "x".repeat(5000));
    let why = "the push policy of acme admits workloads only";
    let denied = gateway.keys.registry_token(&long).claim(
        "denied",
        json!([{ "type": "repository", "name": name, "actions": ["push"], "why": why }]),
    );
    let response = gateway
        .http
        .post(gateway.url(&format!("/v2/{name}/blobs/uploads/")))
        .bearer_auth(denied.sign())
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 403);
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    let message = body["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains(why), "{message}");
    assert!(
        message.ends_with(&format!("--repo {name} --action push")),
        "{message}"
    );
}

#[tokio::test]
async fn a_revoked_token_is_one_to_be_replaced() {
    let gateway = Gateway::start(Config::default()).await;
    let token = gateway.token(&["repository:a/b:pull"]);
    let path = "/v2/a/b/tags/list";
    assert_eq!(get(&gateway, path, Some(&token)).await.status(), 200);
    gateway
        .authority
        .revocations()
        .revoke(Subject::Prefix("a".to_owned()));
    let refused = async {
        loop {
            let response = get(&gateway, path, Some(&token)).await;
            if response.status() != 200 {
                return response;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let response = tokio::time::timeout(std::time::Duration::from_secs(5), refused)
        .await
        .unwrap();
    assert_eq!(response.status(), 401);
    let rest = ",scope=\"repository:a/b:pull\",error=\"invalid_token\"";
    assert_eq!(challenge(&response), expected(&gateway, rest));
    assert!(response.text().await.unwrap().contains("revoked"));
    let other = gateway.token(&["repository:c/d:pull"]);
    assert_eq!(
        get(&gateway, "/v2/c/d/tags/list", Some(&other)).await.status(),
        200
    );
}

#[tokio::test]
async fn an_expired_token_is_admitted_nowhere_without_a_push_grant() {
    let gateway = Gateway::start(Config::default()).await;
    let token = gateway
        .keys
        .registry_token(&alice())
        .access("repository:a/b:pull,push")
        .expired()
        .sign();
    for path in ["/v2/a/b/manifests/latest", "/v2/a/b/tags/list", "/v2/_catalog"] {
        let response = get(&gateway, path, Some(&token)).await;
        assert_eq!(response.status(), 401, "{path}");
        assert!(
            challenge(&response).ends_with("error=\"invalid_token\""),
            "{path}"
        );
    }
    // HEAD is passed to metadata, which has no grant here.
    let head = gateway
        .http
        .head(gateway.url("/v2/a/b/manifests/latest"))
        .bearer_auth(&token)
        .send()
        .await
        .unwrap();
    assert_eq!(head.status(), 401);
    assert!(challenge(&head).ends_with("error=\"invalid_token\""));
}

#[tokio::test]
async fn a_mount_asks_for_both_scopes_at_once() {
    let gateway = Gateway::start(Config::default()).await;
    let digest = "sha256%3A44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let url = gateway.url(&format!("/v2/a/b/blobs/uploads/?mount={digest}&from=c/d"));
    let response = gateway
        .http
        .post(url)
        .bearer_auth(gateway.push_token())
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 401);
    let scope = ",scope=\"repository:a/b:pull,push repository:c/d:pull\",error=\"insufficient_scope\"";
    assert_eq!(challenge(&response), expected(&gateway, scope));
}

/// Sends a request as it stands, and gives the answer as it came.
async fn raw(gateway: &Gateway, request: &str) -> String {
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_spoofed_address_changes_nothing() {
    let gateway = Gateway::start(Config::default()).await;
    let realm = format!("realm=\"http://{}/token\"", gateway.address);
    let headers = [
        "Host: evil.example",
        "Host: evil.example\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https",
        "Host: x\r\nForwarded: host=evil.example;proto=https",
    ];
    for headers in headers {
        let answer = raw(
            &gateway,
            &format!("GET /v2/ HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n"),
        )
        .await;
        assert!(answer.contains(&realm) && !answer.contains("evil"), "{answer}");
    }
    let localhost = format!("localhost:{}", gateway.address.port());
    let answer = raw(
        &gateway,
        &format!("GET /v2/ HTTP/1.1\r\nHost: {localhost}\r\nConnection: close\r\n\r\n"),
    )
    .await;
    assert!(
        answer.contains(&format!("realm=\"http://{localhost}/token\"")),
        "{answer}"
    );
}

#[tokio::test]
async fn request_ids_are_ours_unless_a_proxy_is_trusted() {
    let gateway = Gateway::start(Config::default()).await;
    let ask = async |gateway: &Gateway| {
        let request = gateway
            .http
            .get(gateway.url("/v2/"))
            .header("x-request-id", "theirs");
        request.send().await.unwrap().headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned()
    };
    let (first, second) = (ask(&gateway).await, ask(&gateway).await);
    assert!(
        first != "theirs" && first != second && first.len() == 32,
        "{first} {second}"
    );
    let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let gateway = Gateway::start(Config {
        trusted_proxies,
        ..Config::default()
    })
    .await;
    assert_eq!(ask(&gateway).await, "theirs");
}

#[rstest]
#[case("POST", "/v2/")]
#[case("DELETE", "/v2/a/tags/list")]
#[case("PATCH", "/v2/a/manifests/latest")]
#[case("OPTIONS", "/v2/a/blobs/uploads/")]
#[case("DELETE", "/token")]
#[case("GET", "/sts/exchange")]
#[tokio::test]
async fn other_methods_are_unsupported(#[case] method: &str, #[case] path: &str) {
    let gateway = Gateway::start(Config::default()).await;
    let response = gateway
        .http
        .request(method.parse().unwrap(), gateway.url(path))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 405);
    assert!(!response.headers()[header::ALLOW].is_empty());
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(body["errors"][0]["code"], "UNSUPPORTED");
}

#[tokio::test]
async fn heads_too_large_are_refused() {
    let gateway = Gateway::start(Config {
        max_header_bytes: 8 * 1024,
        ..Config::default()
    })
    .await;
    let large = gateway
        .http
        .get(gateway.url("/v2/"))
        .header("x-large", "x".repeat(9 * 1024));
    assert_eq!(
        large.send().await.unwrap().status(),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    );
    let long = gateway.url(&format!("/v2/a/tags/list?last={}", "x".repeat(17 * 1024)));
    assert_eq!(
        gateway.http.get(long).send().await.unwrap().status(),
        StatusCode::URI_TOO_LONG
    );
}

#[tokio::test]
async fn failures_of_services_are_told_without_their_words() {
    let gateway = Gateway::start(Config::default()).await;
    let token = gateway.token(&["repository:a/b:pull"]);
    let cases = [
        (ErrorReason::Unavailable, 503),
        (ErrorReason::DeadlineExceeded, 503),
        (ErrorReason::Overloaded, 429),
        (ErrorReason::Internal, 500),
        (ErrorReason::Unspecified, 500),
    ];
    for (reason, expected) in cases {
        *gateway.script.read_error.lock().unwrap() = Some(reason);
        let response = get(&gateway, "/v2/a/b/manifests/latest", Some(&token)).await;
        assert_eq!(response.status(), expected, "{reason:?}");
        assert!(!response.text().await.unwrap().contains("scripted"), "{reason:?}");
    }
}

#[tokio::test]
async fn manifests_carry_their_headers_and_conditions_spare_the_body() {
    let gateway = Gateway::start(Config::default()).await;
    let token = gateway.token(&["repository:a/b:pull"]);
    let path = "/v2/a/b/manifests/latest?ns=docker.io";
    let response = get(&gateway, path, Some(&token)).await;
    let headers = response.headers().clone();
    let digest = headers["docker-content-digest"].to_str().unwrap();
    assert_eq!(
        headers[header::CONTENT_TYPE],
        "application/vnd.oci.image.manifest.v1+json"
    );
    assert_eq!(headers[header::ETAG], format!("\"{digest}\""));
    assert_eq!(headers["oci-namespace"], "docker.io");
    assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(response.text().await.unwrap(), "{}");

    let head = gateway
        .http
        .head(gateway.url(path))
        .bearer_auth(&token)
        .send()
        .await
        .unwrap();
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::ETAG] {
        assert_eq!(head.headers()[&name], headers[&name], "{name}");
    }
    let ask = async |tag: &str| {
        let request = gateway
            .http
            .get(gateway.url(path))
            .bearer_auth(&token)
            .header(header::IF_NONE_MATCH, tag);
        request.send().await.unwrap()
    };
    assert_eq!(ask(&format!("\"{digest}\"")).await.status(), 304);
    let other = ask("\"other\"").await;
    assert_eq!(
        (other.status().as_u16(), other.text().await.unwrap().as_str()),
        (200, "{}")
    );
}

#[tokio::test]
async fn lists_have_pages() {
    let gateway = Gateway::start(Config {
        page_size: 5,
        ..Config::default()
    })
    .await;
    let token = gateway.token(&["repository:a/b:pull", "registry:catalog:*"]);
    let tags = async |query: &str| {
        let response = get(&gateway, &format!("/v2/a/b/tags/list{query}"), Some(&token)).await;
        let link = response
            .headers()
            .get(header::LINK)
            .map(|link| link.to_str().unwrap().to_owned());
        let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        (body["tags"].as_array().unwrap().len(), link)
    };
    let link = |last: &str, n: &str| Some(format!("</v2/a/b/tags/list?last={last}{n}>; rel=\"next\""));
    assert_eq!(tags("?n=2&last=x").await, (2, link("xt0001", "&n=2")));
    assert_eq!(tags("").await, (5, link("t0004", "")));
    assert_eq!(tags("?n=99").await, (5, link("t0004", "&n=5")));
    assert_eq!(tags("?n=0").await, (0, None));
    assert_eq!(
        get(&gateway, "/v2/a/b/tags/list?n=x", Some(&token))
            .await
            .status(),
        400
    );

    let digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let path = format!("/v2/a/b/referrers/{digest}?artifactType=x/y%2Bz&n=2");
    let response = get(&gateway, &path, Some(&token)).await;
    let headers = response.headers().clone();
    assert_eq!(
        headers[header::CONTENT_TYPE],
        "application/vnd.oci.image.index.v1+json"
    );
    assert_eq!(headers["oci-filters-applied"], "artifactType");
    let next = format!("</v2/a/b/referrers/{digest}?artifactType=x/y%2Bz&n=2&next=to/ken%3D>; rel=\"next\"");
    assert_eq!(headers[header::LINK], next);
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(body["manifests"], json!([{ "a": 1 }, { "b": 2 }]));

    gateway.authority.grant_read(&alice(), "mine");
    let response = get(&gateway, "/v2/_catalog", Some(&token)).await;
    assert_eq!(response.text().await.unwrap(), r#"{"repositories":["mine"]}"#);
}

#[tokio::test]
async fn the_grpc_surface_is_a_list_and_needs_an_access_token() {
    let gateway = Gateway::start(Config::default()).await;
    let call = async |path: &str, token: Option<&str>| {
        let frame = [0_u8; 5].to_vec();
        let mut request = gateway
            .http
            .post(gateway.url(path))
            .header(header::CONTENT_TYPE, "application/grpc-web+proto")
            .body(frame);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let in_head = response
            .headers()
            .get("grpc-status")
            .map(|status| status.to_str().unwrap().to_owned());
        let body = response.text().await.unwrap();
        in_head.unwrap_or_else(|| {
            body.split("grpc-status:")
                .nth(1)
                .unwrap()
                .trim()
                .split('\r')
                .next()
                .unwrap()
                .to_owned()
        })
    };
    let (unauthenticated, unimplemented) = ("16", "12");
    let listed = "/roadstead.events.v1.EventQueryService/ListEvents";
    assert_eq!(call(listed, None).await, unauthenticated);
    assert_eq!(call(listed, Some(&gateway.push_token())).await, unauthenticated);
    let access = gateway.keys.sign_access_token(&alice());
    for path in [
        "/roadstead.events.v1.IngestService/PublishEvents",
        "/roadstead.metadata.v1.ReadService/GetManifest",
        "/roadstead.metadata.v1.RepositoryAdminService/",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ] {
        assert_eq!(call(path, Some(&access)).await, unimplemented, "{path}");
    }
    // Passed on to a service that refuses for its own reasons: no allow-list entry in this test.
    assert_ne!(call(listed, Some(&access)).await, unauthenticated);
}

#[tokio::test]
async fn a_service_hears_of_a_stranger_only_what_the_gateway_says() {
    let gateway = Gateway::start(Config::default()).await;
    let response = gateway
        .http
        .post(gateway.url("/roadstead.events.v1.EventQueryService/ListEvents"))
        .header(header::CONTENT_TYPE, "application/grpc-web+proto")
        .header("grpc-timeout", "99999999H")
        .header("x-roadstead-client-address", "192.0.2.1")
        .header("x-roadstead-user-agent", "another")
        .header("x-request-id", "made-up")
        .header(header::USER_AGENT, "stranger/1")
        .bearer_auth(gateway.keys.sign_access_token(&alice()))
        .body([0_u8; 5].to_vec());
    let answer = response.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let calls = gateway.script.event_calls.lock().unwrap();
    let [heard] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!(heard.get("grpc-timeout"), None);
    assert_eq!(heard["x-roadstead-client-address"], "127.0.0.1");
    assert_eq!(heard["x-roadstead-user-agent"], "stranger/1");
    assert_eq!(heard["x-request-id"], answer.headers()["x-request-id"]);
    assert_ne!(heard["x-request-id"], "made-up");
    for name in [
        "x-roadstead-client-address",
        "x-roadstead-user-agent",
        "x-request-id",
    ] {
        assert_eq!(heard.get_all(name).iter().count(), 1, "{name}");
    }
}

#[tokio::test]
async fn the_dev_issuer_is_not_there_unless_asked_for() {
    let gateway = Gateway::start(Config::default()).await;
    assert_eq!(
        gateway
            .http
            .post(gateway.url("/dev/token"))
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
}

#[tokio::test]
async fn http2_is_spoken_on_the_same_port() {
    let gateway = Gateway::start(Config::default()).await;
    let http = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let request = http.head(gateway.url("/v2/a/b/manifests/latest"));
    let response = request
        .bearer_auth(gateway.token(&["repository:a/b:pull"]))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (response.version(), response.status().as_u16()),
        (reqwest::Version::HTTP_2, 200)
    );
    assert_eq!(response.headers()[header::CONTENT_LENGTH], "2");
}

#[tokio::test]
async fn connections_without_requests_do_not_delay_the_end() {
    let gateway = Gateway::start(Config::default()).await;
    let silent = TcpStream::connect(gateway.address).await.unwrap();
    let mut kept = TcpStream::connect(gateway.address).await.unwrap();
    kept.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut start = [0; 12];
    kept.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 401");
    tokio::time::timeout(std::time::Duration::from_secs(5), gateway.stop())
        .await
        .unwrap()
        .unwrap();
    drop((silent, kept));
}
