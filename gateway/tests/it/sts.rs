//! The token endpoints: what they make of requests, and of auth's answers.

use http::{StatusCode, header};
use roadstead_gateway::Config;
use roadstead_proto::auth::v1::{
    ExchangeRequest, ExchangeResponse, GetLoginOptionsRequest, GetLoginOptionsResponse, Identity,
    IdentitySummary, IssueRegistryTokenRequest, IssueRegistryTokenResponse, LoginOption, Narrowing,
    RefreshRequest, RevokeSessionRequest, RevokeSessionResponse, token_service_server::TokenService,
};
use roadstead_rpc::{ErrorReason, status};
use rstest::rstest;
use serde_json::{Value, json};
use tonic::{Code, Request, Response, Status, async_trait};

use crate::services::{Asked, Fake, Gateway};

impl Fake {
    fn note(&self, asked: Asked) -> Result<(), Status> {
        self.0.asked.lock().unwrap().push(asked);
        match *self.0.token_error.lock().unwrap() {
            Some(reason) => Err(status(Code::Unauthenticated, reason, "scripted")),
            None => Ok(()),
        }
    }
}

fn exchanged(session: bool) -> ExchangeResponse {
    ExchangeResponse {
        access_token: "access".to_owned(),
        expires_in: 3600,
        issued_at: 1_700_000_000,
        identity: Some(Identity {
            issuer: "https://issuer.example".to_owned(),
            subject: "alice".to_owned(),
        }),
        identities: vec![IdentitySummary {
            id: "idn_1".to_owned(),
            name: "acme/ci".to_owned(),
            kind: "claim_match".to_owned(),
        }],
        refresh_token: if session { "rsr_next" } else { "" }.to_owned(),
        refresh_expires_in: if session { 7200 } else { 0 },
    }
}

#[async_trait]
impl TokenService for Fake {
    async fn exchange(
        &self,
        request: Request<ExchangeRequest>,
    ) -> Result<Response<ExchangeResponse>, Status> {
        let mut request = request.into_inner();
        assert!(request.context.take().is_some());
        let session = request.session;
        self.note(Asked::Exchange(request))?;
        Ok(Response::new(exchanged(session)))
    }

    async fn refresh(&self, request: Request<RefreshRequest>) -> Result<Response<ExchangeResponse>, Status> {
        let mut request = request.into_inner();
        assert!(request.context.take().is_some());
        self.note(Asked::Refresh(request))?;
        Ok(Response::new(exchanged(true)))
    }

    async fn revoke_session(
        &self,
        request: Request<RevokeSessionRequest>,
    ) -> Result<Response<RevokeSessionResponse>, Status> {
        self.note(Asked::Revoke(request.into_inner().refresh_token))?;
        Ok(Response::new(RevokeSessionResponse {}))
    }

    async fn issue_registry_token(
        &self,
        request: Request<IssueRegistryTokenRequest>,
    ) -> Result<Response<IssueRegistryTokenResponse>, Status> {
        let mut request = request.into_inner();
        request.context = None;
        let offline = request.offline;
        self.note(Asked::Registry(request))?;
        Ok(Response::new(IssueRegistryTokenResponse {
            token: "registry".to_owned(),
            expires_in: 300,
            issued_at: 1_700_000_000,
            granted_scopes: Vec::new(),
            refresh_token: if offline { "rsr_kept" } else { "" }.to_owned(),
        }))
    }

    async fn get_login_options(
        &self,
        _: Request<GetLoginOptionsRequest>,
    ) -> Result<Response<GetLoginOptionsResponse>, Status> {
        let option = |issuer: &str, client_secret: &str| LoginOption {
            issuer: issuer.to_owned(),
            client_id: "roadstead".to_owned(),
            client_secret: client_secret.to_owned(),
            scopes: vec!["email".to_owned()],
        };
        Ok(Response::new(GetLoginOptionsResponse {
            options: vec![
                option("https://one.example", ""),
                option("https://two.example", "demanded"),
            ],
        }))
    }
}

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

fn asked(gateway: &Gateway) -> Vec<Asked> {
    std::mem::take(&mut *gateway.script.asked.lock().unwrap())
}

async fn post(gateway: &Gateway, path: &str, form: &[(&str, &str)]) -> (StatusCode, Value) {
    send(gateway.http.post(gateway.url(path)).form(form)).await
}

async fn send(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    (
        status,
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap(),
    )
}

fn full_request() -> Asked {
    Asked::Exchange(ExchangeRequest {
        identity_token: "upstream".to_owned(),
        context: None,
        audience: "registry.example".to_owned(),
        identity: "acme/ci".to_owned(),
        narrowing: Some(Narrowing {
            resources: vec!["acme/web".to_owned(), "repository:acme/api".to_owned()],
            capabilities: vec!["repo.pull".to_owned(), "repo.push".to_owned()],
        }),
        session: true,
    })
}

#[tokio::test]
async fn both_forms_of_an_exchange_mean_the_same() {
    let gateway = Gateway::start(Config::default()).await;
    let origin = format!("http://{}/", gateway.address);
    let form = [
        ("grant_type", EXCHANGE),
        ("subject_token", "upstream"),
        ("subject_token_type", ID_TOKEN),
        ("requested_token_type", ACCESS_TOKEN),
        ("audience", "registry.example"),
        ("resource", &origin),
        ("scope", "acme/web offline_access repository:acme/api"),
        ("identity", "acme/ci"),
        ("capability", "repo.pull"),
        ("capability", "repo.push"),
    ];
    let (status, answer) = post(&gateway, "/sts/exchange", &form).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        answer,
        json!({
            "token": "access",
            "access_token": "access",
            "token_type": "Bearer",
            "issued_token_type": ACCESS_TOKEN,
            "expires_in": 3600,
            "identity": { "issuer": "https://issuer.example", "subject": "alice" },
            "identities": [{ "id": "idn_1", "name": "acme/ci", "kind": "claim_match" }],
            "refresh_token": "rsr_next",
            "refresh_expires_in": 7200,
        })
    );
    assert_eq!(asked(&gateway), [full_request()]);

    let query =
        "aud=registry.example&identity=acme/ci&scope=acme/web&scope=repository:acme/api&cap=repo.pull";
    let simple = gateway
        .http
        .post(gateway.url(&format!("/sts/exchange?{query}")))
        .bearer_auth("upstream")
        .form(&[("cap", "repo.push"), ("session", "true")]);
    assert_eq!(send(simple).await.0, StatusCode::OK);
    assert_eq!(asked(&gateway), [full_request()]);

    let as_json = gateway.http.post(gateway.url("/sts/exchange")).json(&json!({
        "subject_token": "upstream",
        "audience": "registry.example",
        "identity": "acme/ci",
        "scope": ["acme/web", "repository:acme/api"],
        "capability": ["repo.pull", "repo.push"],
        "session": true,
    }));
    assert_eq!(send(as_json).await.0, StatusCode::OK);
    assert_eq!(asked(&gateway), [full_request()]);
}

#[tokio::test]
async fn an_exchange_needs_nothing_but_the_token() {
    let gateway = Gateway::start(Config::default()).await;
    let bare = Asked::Exchange(ExchangeRequest {
        identity_token: "upstream".to_owned(),
        ..ExchangeRequest::default()
    });
    let (status, answer) = post(&gateway, "/sts/exchange", &[("subject_token", "upstream")]).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer.get("refresh_token"), None);
    assert_eq!(asked(&gateway), std::slice::from_ref(&bare));
    let simple = gateway
        .http
        .post(gateway.url("/sts/exchange"))
        .bearer_auth("upstream");
    assert_eq!(send(simple).await.0, StatusCode::OK);
    assert_eq!(asked(&gateway), [bare]);
}

#[rstest]
#[case::no_token(&[("grant_type", EXCHANGE)], 401, "invalid_grant")]
#[case::an_empty_token(&[("subject_token", "")], 401, "invalid_grant")]
#[case::two_tokens(&[("subject_token", "a"), ("subject_token", "b")], 400, "invalid_request")]
#[case::another_grant(&[("grant_type", "password"), ("subject_token", "a")], 400, "unsupported_grant_type")]
#[case::two_grants(&[("grant_type", EXCHANGE), ("grant_type", "refresh_token"), ("subject_token", "a")], 400, "invalid_request")]
#[case::another_type(&[("subject_token", "a"), ("subject_token_type", ACCESS_TOKEN)], 400, "invalid_request")]
#[case::another_wish(&[("subject_token", "a"), ("requested_token_type", ID_TOKEN)], 400, "invalid_request")]
#[case::an_actor(&[("subject_token", "a"), ("actor_token", "b")], 400, "invalid_request")]
#[case::two_identities(&[("subject_token", "a"), ("identity", "b"), ("identity", "c")], 400, "invalid_request")]
#[case::two_audiences(&[("subject_token", "a"), ("audience", "b"), ("aud", "c")], 400, "invalid_target")]
#[case::another_resource(&[("subject_token", "a"), ("resource", "https://other.example")], 400, "invalid_target")]
#[case::no_refresh_token(&[("grant_type", "refresh_token"), ("subject_token", "a")], 400, "invalid_request")]
#[tokio::test]
async fn what_cannot_be_meant_reaches_nobody(
    #[case] form: &[(&str, &str)],
    #[case] expected: u16,
    #[case] error: &str,
) {
    let gateway = Gateway::start(Config::default()).await;
    let (status, answer) = post(&gateway, "/sts/exchange", form).await;
    assert_eq!(
        (status.as_u16(), answer["error"].as_str()),
        (expected, Some(error)),
        "{answer}"
    );
    assert_eq!(answer["error_description"], answer["errors"][0]["message"]);
    assert_eq!(asked(&gateway), []);
}

#[rstest]
#[case("/sts/exchange?subject_token=secret")]
#[case("/sts/exchange?grant_type=refresh_token&refresh_token=secret")]
#[case("/sts/revoke?token=secret")]
#[tokio::test]
async fn a_secret_in_a_url_is_refused(#[case] path: &str) {
    let gateway = Gateway::start(Config::default()).await;
    let (status, answer) = post(&gateway, path, &[]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(!answer.to_string().contains("=secret"), "{answer}");
    assert_eq!(asked(&gateway), []);
}

#[tokio::test]
async fn two_ways_of_showing_a_token_are_one_too_many() {
    let gateway = Gateway::start(Config::default()).await;
    let both = gateway
        .http
        .post(gateway.url("/sts/exchange"))
        .bearer_auth("one")
        .form(&[("subject_token", "other")]);
    assert_eq!(send(both).await.0, StatusCode::BAD_REQUEST);
    let basic = gateway
        .http
        .post(gateway.url("/sts/exchange"))
        .basic_auth("user", Some("password"));
    assert_eq!(send(basic).await.0, StatusCode::UNAUTHORIZED);
    for body in [
        "[]",
        "{",
        r#"{"subject_token":7}"#,
        r#"{"subject_token":{}}"#,
        r#"{"subject_token":"a","subject_token":"b"}"#,
    ] {
        let request = gateway
            .http
            .post(gateway.url("/sts/exchange"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body);
        assert_eq!(send(request).await.0, StatusCode::BAD_REQUEST, "{body}");
    }
    assert_eq!(asked(&gateway), []);
}

#[tokio::test]
async fn a_refresh_token_gives_a_fresh_token_and_its_successor() {
    let gateway = Gateway::start(Config::default()).await;
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", "rsr_first"),
        ("scope", "acme/web"),
    ];
    let (status, answer) = post(&gateway, "/sts/exchange", &form).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["access_token"], "access");
    assert_eq!(answer["refresh_token"], "rsr_next");
    assert_eq!(
        asked(&gateway),
        [Asked::Refresh(RefreshRequest {
            refresh_token: "rsr_first".to_owned(),
            narrowing: Some(Narrowing {
                resources: vec!["acme/web".to_owned()],
                capabilities: Vec::new(),
            }),
            context: None,
        })]
    );
    *gateway.script.token_error.lock().unwrap() = Some(ErrorReason::TokenExpired);
    let (status, answer) = post(&gateway, "/sts/exchange", &form[..2]).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer["error"], "invalid_grant");
}

#[tokio::test]
async fn revoking_is_told_to_auth() {
    let gateway = Gateway::start(Config::default()).await;
    let (status, answer) = post(&gateway, "/sts/revoke", &[("token", "rsr_first")]).await;
    assert_eq!((status, answer), (StatusCode::OK, json!({})));
    assert_eq!(asked(&gateway), [Asked::Revoke("rsr_first".to_owned())]);
    let (status, answer) = post(&gateway, "/sts/revoke", &[]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(answer["error"], "invalid_request");
    *gateway.script.token_error.lock().unwrap() = Some(ErrorReason::Unavailable);
    let (status, answer) = post(&gateway, "/sts/revoke", &[("token", "rsr_first")]).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer["error"], "temporarily_unavailable");
}

#[tokio::test]
async fn who_asks_to_stay_logged_in_gets_a_refresh_token_at_the_token_endpoint() {
    let gateway = Gateway::start(Config::default()).await;
    let scope = "repository:a/b:pull";
    let get = async |query: &str| {
        let path = format!("/token?service=x&scope={scope}{query}");
        send(
            gateway
                .http
                .get(gateway.url(&path))
                .basic_auth("u", Some("access")),
        )
        .await
        .1
    };
    let password = [
        ("grant_type", "password"),
        ("username", "u"),
        ("password", "access"),
        ("service", "x"),
        ("scope", scope),
    ];
    let expected = |credential: &str, offline| {
        Asked::Registry(IssueRegistryTokenRequest {
            credential: credential.to_owned(),
            service: "x".to_owned(),
            scopes: vec![scope.to_owned()],
            context: None,
            offline,
        })
    };
    assert_eq!(get("").await.get("refresh_token"), None);
    assert_eq!(get("&offline_token=false").await.get("refresh_token"), None);
    assert_eq!(
        post(&gateway, "/token", &password).await.1.get("refresh_token"),
        None
    );
    assert_eq!(asked(&gateway), [(); 3].map(|()| expected("access", false)));

    assert_eq!(get("&offline_token=true").await["refresh_token"], "rsr_kept");
    let offline = [&password[..], &[("access_type", "offline")]].concat();
    assert_eq!(
        post(&gateway, "/token", &offline).await.1["refresh_token"],
        "rsr_kept"
    );
    assert_eq!(asked(&gateway), [(); 2].map(|()| expected("access", true)));

    let refresh = [
        ("grant_type", "refresh_token"),
        ("refresh_token", "rsr_kept"),
        ("service", "x"),
        ("scope", scope),
    ];
    assert_eq!(post(&gateway, "/token", &refresh).await.1["token"], "registry");
    assert_eq!(asked(&gateway), [expected("rsr_kept", false)]);
}

#[tokio::test]
async fn programs_learn_how_people_log_in() {
    let gateway = Gateway::start(Config::default()).await;
    let response = gateway
        .http
        .get(gateway.url("/.well-known/roadstead"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()[header::CACHE_CONTROL], "public, max-age=60");
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(
        body,
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "issuers": [
                { "issuer": "https://one.example", "client_id": "roadstead", "scopes": ["email"] },
                {
                    "issuer": "https://two.example",
                    "client_id": "roadstead",
                    "client_secret": "demanded",
                    "scopes": ["email"],
                },
            ],
        })
    );
}
