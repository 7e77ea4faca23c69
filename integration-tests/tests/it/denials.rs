//! Who may do what, and that a denial tells nothing about what exists.

use anyhow::Result;
use reqwest::Method;
use roadstead_integration_tests::image::Image;
use roadstead_integration_tests::registry::challenge;
use roadstead_integration_tests::{Cluster, Mode, Session, in_both_modes};

use crate::identities::Identities;

in_both_modes!(
    nobody_learns_whether_a_private_repository_exists,
    everybody_may_pull_what_is_public_and_nothing_more,
    a_user_without_a_grant_learns_nothing_but_who_was_refused,
    a_grant_covers_its_prefix_by_whole_segments,
    pulling_is_not_pushing_and_pushing_is_not_deleting,
);

/// Requests of every kind on `repository`.
fn requests(repository: &str) -> Vec<(Method, String)> {
    let digest = format!("sha256:{}", "0".repeat(64));
    vec![
        (Method::GET, format!("/v2/{repository}/manifests/latest")),
        (Method::HEAD, format!("/v2/{repository}/manifests/latest")),
        (Method::GET, format!("/v2/{repository}/blobs/{digest}")),
        (Method::GET, format!("/v2/{repository}/tags/list")),
        (Method::GET, format!("/v2/{repository}/referrers/{digest}")),
        (Method::POST, format!("/v2/{repository}/blobs/uploads/")),
        (Method::PUT, format!("/v2/{repository}/manifests/latest")),
        (Method::DELETE, format!("/v2/{repository}/manifests/latest")),
        (Method::DELETE, format!("/v2/{repository}/blobs/{digest}")),
    ]
}

async fn nobody_learns_whether_a_private_repository_exists(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let developer = cluster.developer().await?.session_for(&["hidden/is"]).await?;
    developer
        .push_image("hidden/is", "latest", &Image::small("hidden")?)
        .await?;

    let anonymous = cluster.anonymous()?;
    let empty = anonymous.session(&["repository:hidden/is:pull"]).await?;
    for ((method, existing), (_, missing)) in requests("hidden/is").into_iter().zip(requests("hidden/no")) {
        for session in [None, Some(&empty)] {
            let existing = send(&anonymous, session, &method, &existing).await?;
            let missing = send(&anonymous, session, &method, &missing).await?;
            assert_eq!(existing.0, 401, "{method}");
            assert_eq!(existing.0, missing.0, "{method}");
            let (existing, missing) = (
                existing.1.replace("hidden/is", "X"),
                missing.1.replace("hidden/no", "X"),
            );
            assert_eq!(existing, missing, "{method}: the answers differ");
        }
    }
    cluster.stop().await.map(drop)
}

async fn send(
    registry: &roadstead_integration_tests::Registry,
    session: Option<&Session>,
    method: &Method,
    path: &str,
) -> Result<(u16, String)> {
    let request = match session {
        Some(session) => session.request(method.clone(), path),
        None => registry.request(method.clone(), path),
    };
    let reply = request.send().await?;
    let challenge = reply.optional_header("www-authenticate").unwrap_or_default();
    let body = String::from_utf8_lossy(&reply.body);
    Ok((reply.status.as_u16(), format!("{challenge}\n{body}")))
}

async fn everybody_may_pull_what_is_public_and_nothing_more(mode: Mode) -> Result<()> {
    let cluster = Cluster::setup(mode).with_public("open").start().await?;
    let developer = cluster
        .developer()
        .await?
        .session_for(&["open/one", "openly/one"])
        .await?;
    let image = Image::small("public")?;
    developer.push_image("open/one", "latest", &image).await?;
    developer.push_image("openly/one", "latest", &image).await?;

    let anonymous = cluster.anonymous()?;
    // Both with and without an anonymous token: containerd asks for one, curl does not.
    let reply = anonymous
        .get("/v2/open/one/manifests/latest")
        .await?
        .expect(200)?;
    assert_eq!(reply.body, image.manifest);
    let session = anonymous.session(&["repository:open/one:pull,push"]).await?;
    session.pull_everything("open/one", "latest").await?;

    let refused = anonymous
        .request(Method::POST, "/v2/open/one/blobs/uploads/")
        .send()
        .await?;
    let refused = refused.expect_error(401, "UNAUTHORIZED")?;
    assert_eq!(challenge(&refused)?["scope"], "repository:open/one:pull,push");
    session
        .request(Method::POST, "/v2/open/one/blobs/uploads/")
        .send()
        .await?
        .expect(401)?;
    anonymous
        .get("/v2/openly/one/manifests/latest")
        .await?
        .expect(401)?;
    // What may be pulled may be missing, and says so.
    anonymous
        .get("/v2/open/none/manifests/latest")
        .await?
        .expect(404)?;
    cluster.stop().await.map(drop)
}

async fn a_user_without_a_grant_learns_nothing_but_who_was_refused(mode: Mode) -> Result<()> {
    let identities = Identities::start()
        .await
        .grant("ann", "ann", &["pull", "push"])
        .grant("bob", "bob", &["pull"]);
    let cluster = identities.configure(Cluster::setup(mode)).start().await?;
    let registry = cluster.anonymous()?;
    let ann = identities
        .user(&registry, "ann")
        .await?
        .session_for(&["ann/is"])
        .await?;
    ann.push_image("ann/is", "latest", &Image::small("ann")?).await?;

    let bob = identities.user(&registry, "bob").await?;
    for ((method, existing), (_, missing)) in requests("ann/is").into_iter().zip(requests("ann/no")) {
        let session = bob.session_for(&["ann/is", "ann/no"]).await?;
        let existing = send(&registry, Some(&session), &method, &existing).await?;
        let missing = send(&registry, Some(&session), &method, &missing).await?;
        assert_eq!(existing.0, 403, "{method}");
        assert_eq!(
            existing.1.replace("ann/is", "X"),
            missing.1.replace("ann/no", "X"),
            "{method}: the answers differ"
        );
        if method != Method::HEAD {
            assert!(
                existing.1.contains("DENIED") && existing.1.contains("bob"),
                "{method}: {}",
                existing.1
            );
        }
    }
    cluster.stop().await.map(drop)
}

async fn a_grant_covers_its_prefix_by_whole_segments(mode: Mode) -> Result<()> {
    let identities = Identities::start()
        .await
        .grant("ann", "acme/web", &["pull", "push"]);
    let cluster = identities.configure(Cluster::setup(mode)).start().await?;
    let ann = identities.user(&cluster.anonymous()?, "ann").await?;
    let names = ["acme/web", "acme/web/api", "acme/website", "acme"];
    let session = ann.session_for(&names).await?;
    for (name, expected) in names.into_iter().zip([202, 202, 403, 403]) {
        session
            .request(Method::POST, &format!("/v2/{name}/blobs/uploads/"))
            .send()
            .await?
            .expect(expected)?;
    }
    cluster.stop().await.map(drop)
}

async fn pulling_is_not_pushing_and_pushing_is_not_deleting(mode: Mode) -> Result<()> {
    let identities = Identities::start()
        .await
        .grant("reader", "shop", &["pull"])
        .grant("writer", "shop", &["pull", "push"]);
    let cluster = identities.configure(Cluster::setup(mode)).start().await?;
    let registry = cluster.anonymous()?;
    let writer = identities
        .user(&registry, "writer")
        .await?
        .session_for(&["shop/one"])
        .await?;
    let digest = writer
        .push_image("shop/one", "latest", &Image::small("shop")?)
        .await?;
    writer
        .delete(&format!("/v2/shop/one/manifests/{digest}"))
        .await?
        .expect_error(403, "DENIED")?;
    // Clients give up an upload with DELETE, and hold no more than push.
    let upload = writer.open_upload("shop/one").await?;
    writer.delete(&upload).await?.expect(204)?;

    let reader = identities
        .user(&registry, "reader")
        .await?
        .session_for(&["shop/one"])
        .await?;
    reader.pull_everything("shop/one", "latest").await?;
    reader
        .request(Method::POST, "/v2/shop/one/blobs/uploads/")
        .send()
        .await?
        .expect_error(403, "DENIED")?;
    cluster.stop().await.map(drop)
}
