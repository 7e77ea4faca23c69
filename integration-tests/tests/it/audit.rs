//! Where services meet over permissions: what auth and the gateway tell the auditors, what metadata asks auth, and what it
//! tells it.

use std::time::Duration;

use anyhow::Result;
use reqwest::Method;
use roadstead_integration_tests::deadline::eventually;
use roadstead_integration_tests::image::Image;
use roadstead_integration_tests::{Cluster, Mode, in_both_modes};
use roadstead_proto::auth::v1::binding_service_client::BindingServiceClient;
use roadstead_proto::auth::v1::group_service_client::GroupServiceClient;
use roadstead_proto::auth::v1::{
    CreateBindingRequest, DeleteBindingRequest, ListGroupsRequest, Resource, ResourceKind,
};
use roadstead_proto::events::v1::ListEventsRequest;
use roadstead_proto::events::v1::event_query_service_client::EventQueryServiceClient;
use serde_json::Value;

use crate::identities::Identities;
use crate::operators::{authorized, channel};

in_both_modes!(
    audit_events_are_for_auditors,
    what_is_public_follows_its_binding,
    a_push_makes_the_groups_above_its_repository,
);

const LIMIT: Duration = Duration::from_secs(20);
/// What is promised of a permission that is taken back.
const REVOCATION_LIMIT: Duration = Duration::from_secs(5);
const EXCHANGE: &str = "dev.roadstead.auth.exchange.v1";
const REFUSAL: &str = "dev.roadstead.registry.refusal.v1";
const PUSH: &str = "dev.roadstead.registry.push.v1";

async fn events(cluster: &Cluster, token: &str) -> Result<Vec<Value>> {
    let mut client = EventQueryServiceClient::new(channel(cluster).await?);
    let request = ListEventsRequest {
        page_size: 1000,
        ..ListEventsRequest::default()
    };
    let page = client
        .list_events(authorized(request, token)?)
        .await?
        .into_inner();
    let parse =
        |event: &roadstead_proto::events::v1::LoggedEvent| serde_json::from_slice(&event.cloudevent_json);
    Ok(page.events.iter().map(parse).collect::<Result<_, _>>()?)
}

fn of_type<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

async fn audit_events_are_for_auditors(mode: Mode) -> Result<()> {
    let identities = Identities::start().await.grant("ann", "acme", &["pull", "push"]);
    let cluster = identities
        .configure(Cluster::setup(mode))
        .with("gateway.refusal_event_interval", "\"100ms\"")
        .start()
        .await?;
    let owner = cluster.access_token().await?;
    let registry = cluster.anonymous()?;
    let ann = identities.user(&registry, "ann").await?;
    let session = ann.session_for(&["acme/web"]).await?;
    session
        .push_image("acme/web", "latest", &Image::small("audit")?)
        .await?;
    // Twice: within the interval the two are one event, and over it two; they are two refusals in any case.
    for _ in 0..2 {
        session
            .delete("/v2/acme/web/manifests/latest")
            .await?
            .expect_error(403, "DENIED")?;
    }
    let refusals = |events: &[Value]| -> u64 {
        let of_ann = of_type(events, REFUSAL);
        of_ann
            .iter()
            .filter_map(|event| event["data"]["count"].as_u64())
            .sum()
    };
    let seen = eventually("the owner sees all of it", LIMIT, async || {
        let seen = events(&cluster, &owner).await?;
        let complete = !of_type(&seen, EXCHANGE).is_empty() && refusals(&seen) == 2;
        Ok(complete.then_some(seen))
    })
    .await?;
    let refusal = of_type(&seen, REFUSAL)[0];
    assert_eq!(refusal["path"], "acme/web");
    assert_eq!(refusal["data"]["actor"]["subject"], "ann");
    assert_eq!(refusal["data"]["action"], "delete");
    let by_ann: Vec<_> = of_type(&seen, EXCHANGE)
        .into_iter()
        .filter(|event| event.to_string().contains("ann"))
        .collect();
    assert!(!by_ann.is_empty(), "{seen:?}");

    let token = identities.access_token(&registry, "ann").await?;
    let own = events(&cluster, &token).await?;
    assert!(
        !of_type(&own, PUSH).is_empty(),
        "who may pull sees what was pushed"
    );
    let audit: Vec<_> = own.iter().filter(|event| event.get("path").is_some()).collect();
    assert!(audit.is_empty(), "{audit:?}");
    cluster.stop().await.map(drop)
}

async fn what_is_public_follows_its_binding(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let owner = cluster.access_token().await?;
    let session = cluster
        .developer()
        .await?
        .session_for(&["open/one", "open/one/below"])
        .await?;
    for name in ["open/one", "open/one/below"] {
        session.push_image(name, "latest", &Image::small(name)?).await?;
    }
    let anonymous = cluster.anonymous()?;
    let status = async |name: &str| -> Result<u16> {
        let reply = anonymous.get(&format!("/v2/{name}/manifests/latest")).await?;
        Ok(reply.status.as_u16())
    };
    assert_eq!(status("open/one").await?, 401);
    let mut bindings = BindingServiceClient::new(channel(&cluster).await?);
    let request = CreateBindingRequest {
        identity: "anonymous".to_owned(),
        role: "registry.pull".to_owned(),
        resource: Some(Resource {
            kind: ResourceKind::Repository.into(),
            path: "open/one".to_owned(),
        }),
        conditions: Vec::new(),
    };
    let created = bindings.create_binding(authorized(request, &owner)?).await?;
    let id = created.into_inner().binding.unwrap_or_default().id;
    eventually("it is public", REVOCATION_LIMIT, async || {
        Ok((status("open/one").await? == 200).then_some(()))
    })
    .await?;
    // One repository, and none below its name.
    assert_eq!(status("open/one/below").await?, 401);
    // A token that was decided while it was public ends with it, too.
    let nobody = anonymous.session(&["repository:open/one:pull"]).await?;
    nobody.pull_everything("open/one", "latest").await?;
    let request = DeleteBindingRequest { id };
    bindings.delete_binding(authorized(request, &owner)?).await?;
    eventually("it is private again", REVOCATION_LIMIT, async || {
        let held = nobody.get("/v2/open/one/manifests/latest").await?.status.as_u16();
        Ok((status("open/one").await? == 401 && held == 401).then_some(()))
    })
    .await?;
    cluster.stop().await.map(drop)
}

async fn a_push_makes_the_groups_above_its_repository(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let owner = cluster.access_token().await?;
    let session = cluster
        .developer()
        .await?
        .session_for(&["deep/er/still/one"])
        .await?;
    let mut client = GroupServiceClient::new(channel(&cluster).await?);
    let mut groups = async || -> Result<Vec<String>> {
        let request = ListGroupsRequest {
            path: "deep".to_owned(),
            ..ListGroupsRequest::default()
        };
        let listed = client.list_groups(authorized(request, &owner)?).await;
        // Until it is there it is as unknown as any other.
        let groups = listed.map(|page| page.into_inner().groups).unwrap_or_default();
        Ok(groups.into_iter().map(|group| group.path).collect())
    };
    assert_eq!(groups().await?, [""; 0]);
    session
        .request(Method::POST, "/v2/deep/er/still/one/blobs/uploads/")
        .send()
        .await?
        .expect(202)?;
    eventually("the groups are there", LIMIT, async || {
        Ok((groups().await? == ["deep", "deep/er", "deep/er/still"]).then_some(()))
    })
    .await?;
    cluster.stop().await.map(drop)
}
