//! What operators and users see besides images: events, tag history, the gRPC surface.

use std::time::Duration;

use anyhow::{Context as _, Result};
use roadstead_integration_tests::deadline::eventually;
use roadstead_integration_tests::image::Image;
use roadstead_integration_tests::{Cluster, Mode, in_both_modes};
use roadstead_proto::events::v1::ListEventsRequest;
use roadstead_proto::events::v1::event_query_service_client::EventQueryServiceClient;
use roadstead_proto::metadata::v1::ListTagHistoryRequest;
use roadstead_proto::metadata::v1::repository_admin_service_client::RepositoryAdminServiceClient;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

use crate::identities::Identities;

/// Where `deploy/local/run` says that each service listens.
const SERVICES: [(&str, &str); 4] = [
    ("auth", "roadstead.auth.v1.TokenService"),
    ("metadata", "roadstead.metadata.v1.ReadService"),
    ("blobs", "roadstead.blobs.v1.BlobReadService"),
    ("events", "roadstead.events.v1.EventQueryService"),
];

in_both_modes!(
    events_tell_what_happened,
    tag_history_keeps_what_a_tag_was,
    the_grpc_surface_verifies_callers,
    the_grpc_surface_is_a_list,
);

const REPOSITORY: &str = "operators/one";

pub(crate) async fn channel(cluster: &Cluster) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", cluster.address()))?;
    endpoint.connect().await.context("connect to the gateway")
}

pub(crate) fn authorized<T>(message: T, token: &str) -> Result<Request<T>> {
    let mut request = Request::new(message);
    let value = MetadataValue::try_from(format!("Bearer {token}")).context("a token is ASCII")?;
    request.metadata_mut().insert("authorization", value);
    Ok(request)
}

async fn events_tell_what_happened(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let digest = session
        .push_image(REPOSITORY, "latest", &Image::small("events")?)
        .await?;
    session
        .get(&format!("/v2/{REPOSITORY}/manifests/latest"))
        .await?
        .expect(200)?;
    session
        .delete(&format!("/v2/{REPOSITORY}/manifests/latest"))
        .await?
        .expect(202)?;

    let address = cluster.address();
    let shown = eventually(
        "the three events are listed",
        Duration::from_secs(20),
        async || {
            let shown = cluster
                .cli(&["events", "list", "--registry", &address, "--output", "json"])
                .await?;
            Ok(["push", "pull", "delete"]
                .iter()
                .all(|kind| shown.contains(kind))
                .then_some(shown))
        },
    )
    .await?;
    assert!(
        shown.contains(REPOSITORY) && shown.contains(digest.as_str()),
        "{shown}"
    );
    cluster.stop().await.map(drop)
}

async fn tag_history_keeps_what_a_tag_was(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let first = session
        .push_image(REPOSITORY, "moving", &Image::small("first")?)
        .await?;
    let second = session
        .push_image(REPOSITORY, "moving", &Image::small("second")?)
        .await?;
    let token = cluster.access_token().await?;
    let mut client = RepositoryAdminServiceClient::new(channel(&cluster).await?);
    let request = ListTagHistoryRequest {
        repository: REPOSITORY.into(),
        tag: "moving".into(),
        ..Default::default()
    };
    let history = client
        .list_tag_history(authorized(request, &token)?)
        .await?
        .into_inner();
    let digests: Vec<&str> = history
        .changes
        .iter()
        .map(|change| change.digest.as_str())
        .collect();
    assert_eq!(digests, [second.as_str(), first.as_str()], "the newest first");
    assert_eq!(history.changes[0].previous_digest, first.as_str());

    let address = cluster.address();
    let shown = cluster
        .cli(&[
            "tags",
            "history",
            REPOSITORY,
            "moving",
            "--registry",
            &address,
            "--output",
            "json",
        ])
        .await?;
    assert!(
        shown.contains(first.as_str()) && shown.contains(second.as_str()),
        "{shown}"
    );
    cluster.stop().await.map(drop)
}

async fn the_grpc_surface_verifies_callers(mode: Mode) -> Result<()> {
    let identities = Identities::start().await.grant("ann", "ann", &["pull", "push"]);
    let cluster = identities.configure(Cluster::setup(mode)).start().await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    session
        .push_image(REPOSITORY, "latest", &Image::small("callers")?)
        .await?;
    let mut client = EventQueryServiceClient::new(channel(&cluster).await?);

    let refused = client
        .list_events(ListEventsRequest::default())
        .await
        .err()
        .context("nobody got events")?;
    assert_eq!(refused.code(), Code::Unauthenticated);
    let registry_token = authorized(ListEventsRequest::default(), session.token())?;
    let refused = client
        .list_events(registry_token)
        .await
        .err()
        .context("a registry token got events")?;
    assert_eq!(refused.code(), Code::Unauthenticated);

    let token = cluster.access_token().await?;
    eventually(
        "the developer sees the push",
        Duration::from_secs(20),
        async || {
            let events = client
                .list_events(authorized(ListEventsRequest::default(), &token)?)
                .await?
                .into_inner()
                .events;
            Ok((!events.is_empty()).then_some(()))
        },
    )
    .await?;
    let ann = identities.access_token(&cluster.anonymous()?, "ann").await?;
    let events = client
        .list_events(authorized(ListEventsRequest::default(), &ann)?)
        .await?
        .into_inner()
        .events;
    assert!(events.is_empty(), "ann may not pull from {REPOSITORY}");
    cluster.stop().await.map(drop)
}

async fn the_grpc_surface_is_a_list(mode: Mode) -> Result<()> {
    use roadstead_proto::blobs::v1::DeleteObjectsRequest;
    use roadstead_proto::blobs::v1::blob_admin_service_client::BlobAdminServiceClient;

    let cluster = Cluster::start(mode).await?;
    let token = cluster.access_token().await?;
    let mut client = BlobAdminServiceClient::new(channel(&cluster).await?);
    let request = authorized(DeleteObjectsRequest::default(), &token)?;
    let refused = client
        .delete_objects(request)
        .await
        .err()
        .context("a user reached an internal service")?;
    assert!(
        matches!(refused.code(), Code::Unimplemented | Code::PermissionDenied),
        "{refused:?}"
    );
    cluster.stop().await.map(drop)
}

/// Only split services have ports of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_reach_health_and_reflection_and_nothing_else() -> Result<()> {
    use roadstead_proto::metadata::v1::GetManifestRequest;
    use roadstead_proto::metadata::v1::read_service_client::ReadServiceClient;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;

    let cluster = Cluster::start(Mode::Split).await?;
    for (name, service) in SERVICES {
        let channel = operator_channel(&cluster, name).await?;
        let request = HealthCheckRequest {
            service: service.into(),
        };
        let health = HealthClient::new(channel.clone())
            .check(request)
            .await?
            .into_inner();
        assert_eq!(health.status(), ServingStatus::Serving, "{service}");
        let listed = reflected_services(channel.clone()).await?;
        assert!(
            listed.iter().any(|listed| listed == service),
            "{service} is not among {listed:?}"
        );
        if name == "metadata" {
            let refused = ReadServiceClient::new(channel)
                .get_manifest(GetManifestRequest::default())
                .await;
            assert_eq!(
                refused.err().context("an operator read a manifest")?.code(),
                Code::PermissionDenied
            );
        }
    }
    cluster.stop().await.map(drop)
}

/// A channel to a service with the operator certificate of this run.
async fn operator_channel(cluster: &Cluster, service: &str) -> Result<Channel> {
    use tonic::transport::{Certificate, ClientTlsConfig, Identity};

    let said = cluster.process().stderr();
    let address = said
        .lines()
        .find_map(|line| line.split_once(&format!("{service} ready: ")))
        .and_then(|(_, rest)| rest.split_whitespace().find(|word| word.contains(':')))
        .with_context(|| format!("{service} said no address: {said}"))?;
    let tls = find_tls(cluster)?;
    let read = |name: &str| std::fs::read(tls.join(name)).with_context(|| format!("read {name}"));
    let tls = ClientTlsConfig::new()
        .domain_name(format!("{service}.roadstead.internal"))
        .ca_certificate(Certificate::from_pem(read("ca.pem")?))
        .identity(Identity::from_pem(read("operator.pem")?, read("operator.key")?));
    // tonic takes the process's provider.
    cluster.anonymous()?;
    let endpoint = Endpoint::from_shared(format!("https://{address}"))?.tls_config(tls)?;
    endpoint
        .connect()
        .await
        .with_context(|| format!("connect to {service} at {address}"))
}

/// The directory with this run's certificates, which the script makes under `TMPDIR`.
fn find_tls(cluster: &Cluster) -> Result<std::path::PathBuf> {
    std::fs::read_dir(cluster.home().scratch())?
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("tls"))
        .find(|path| path.join("operator.pem").is_file())
        .context("no certificates of this run")
}

async fn reflected_services(channel: Channel) -> Result<Vec<String>> {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = futures::stream::iter([request]);
    let mut answers = ServerReflectionClient::new(channel)
        .server_reflection_info(requests)
        .await?
        .into_inner();
    let answer = answers
        .message()
        .await?
        .and_then(|answer| answer.message_response);
    let Some(MessageResponse::ListServicesResponse(services)) = answer else {
        anyhow::bail!("reflection answered {answer:?}");
    };
    Ok(services.service.into_iter().map(|service| service.name).collect())
}
