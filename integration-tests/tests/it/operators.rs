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

in_both_modes!(
    events_tell_what_happened,
    tag_history_keeps_what_a_tag_was,
    the_grpc_surface_verifies_callers,
    the_grpc_surface_is_a_list,
);

const REPOSITORY: &str = "operators/one";

async fn channel(cluster: &Cluster) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", cluster.address()))?;
    endpoint.connect().await.context("connect to the gateway")
}

fn authorized<T>(message: T, token: &str) -> Result<Request<T>> {
    let mut request = Request::new(message);
    let value = MetadataValue::try_from(format!("Bearer {token}")).context("a token is ASCII")?;
    request.metadata_mut().insert("authorization", value);
    Ok(request)
}

async fn events_tell_what_happened(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let digest = session.push_image(REPOSITORY, "latest", &Image::small("events")?).await?;
    session.get(&format!("/v2/{REPOSITORY}/manifests/latest")).await?.expect(200)?;
    session.delete(&format!("/v2/{REPOSITORY}/manifests/latest")).await?.expect(202)?;

    let address = cluster.address();
    let shown = eventually("the three events are listed", Duration::from_secs(20), async || {
        let shown = cluster.cli(&["events", "list", "--registry", &address]).await?;
        Ok(["push", "pull", "delete"].iter().all(|kind| shown.contains(kind)).then_some(shown))
    })
    .await?;
    assert!(shown.contains(REPOSITORY) && shown.contains(&digest.as_str()[..19]), "{shown}");
    cluster.stop().await.map(drop)
}

async fn tag_history_keeps_what_a_tag_was(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let first = session.push_image(REPOSITORY, "moving", &Image::small("first")?).await?;
    let second = session.push_image(REPOSITORY, "moving", &Image::small("second")?).await?;
    let token = cluster.access_token().await?;
    let mut client = RepositoryAdminServiceClient::new(channel(&cluster).await?);
    let request = ListTagHistoryRequest { repository: REPOSITORY.into(), tag: "moving".into(), ..Default::default() };
    let history = client.list_tag_history(authorized(request, &token)?).await?.into_inner();
    let digests: Vec<&str> = history.entries.iter().map(|entry| entry.digest.as_str()).collect();
    assert_eq!(digests, [second.as_str(), first.as_str()], "the newest first");
    assert_eq!(history.entries[0].previous_digest, first.as_str());

    let address = cluster.address();
    let shown = cluster.cli(&["tags", "history", &format!("{REPOSITORY}:moving"), "--registry", &address]).await?;
    assert!(shown.contains(&first.encoded()[..12]) && shown.contains(&second.encoded()[..12]), "{shown}");
    cluster.stop().await.map(drop)
}

async fn the_grpc_surface_verifies_callers(mode: Mode) -> Result<()> {
    let identities = Identities::start().await.grant("ann", "ann", &["pull", "push"]);
    let cluster = identities.configure(Cluster::setup(mode)).start().await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    session.push_image(REPOSITORY, "latest", &Image::small("callers")?).await?;
    let mut client = EventQueryServiceClient::new(channel(&cluster).await?);

    let refused = client.list_events(ListEventsRequest::default()).await.err().context("nobody got events")?;
    assert_eq!(refused.code(), Code::Unauthenticated);
    let registry_token = authorized(ListEventsRequest::default(), session.token())?;
    let refused = client.list_events(registry_token).await.err().context("a registry token got events")?;
    assert_eq!(refused.code(), Code::Unauthenticated);

    let token = cluster.access_token().await?;
    eventually("the developer sees the push", Duration::from_secs(20), async || {
        let events = client.list_events(authorized(ListEventsRequest::default(), &token)?).await?.into_inner().events;
        Ok((!events.is_empty()).then_some(()))
    })
    .await?;
    let ann = identities.access_token(&cluster.anonymous()?, "ann").await?;
    let events = client.list_events(authorized(ListEventsRequest::default(), &ann)?).await?.into_inner().events;
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
    let refused = client.delete_objects(request).await.err().context("a user reached an internal service")?;
    assert!(matches!(refused.code(), Code::Unimplemented | Code::PermissionDenied), "{refused:?}");
    cluster.stop().await.map(drop)
}
