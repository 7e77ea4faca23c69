//! Tags and the catalog, page by page.

use anyhow::{Context as _, Result};
use roadstead_integration_tests::image::{Image, media};
use roadstead_integration_tests::{Cluster, Mode, Session, in_both_modes};
use serde_json::Value;

use crate::identities::Identities;

in_both_modes!(
    tags_come_in_order_and_in_pages,
    odd_page_sizes_mean_what_the_specification_says,
    a_catalog_shows_what_the_caller_may_pull,
);

const REPOSITORY: &str = "listings/one";

/// Every entry of a listing, following `Link`, and how many pages it took.
async fn everything(session: &Session, first: &str, field: &str) -> Result<(Vec<String>, usize)> {
    let (mut entries, mut pages) = (Vec::new(), 0);
    let mut next = Some(first.to_owned());
    while let Some(path) = next {
        let reply = session.get(&path).await?.expect(200)?;
        entries.extend(names(&reply.json()?, field)?);
        next = reply.next_page();
        pages += 1;
        assert!(
            next.as_ref().is_none_or(|path| path.starts_with("/v2/")),
            "{next:?} is not relative"
        );
        assert!(pages < 100, "the pages never end");
    }
    Ok((entries, pages))
}

fn names(body: &Value, field: &str) -> Result<Vec<String>> {
    let names = body[field]
        .as_array()
        .with_context(|| format!("no list {field} in {body}"))?;
    Ok(names
        .iter()
        .filter_map(Value::as_str)
        .map(ToOwned::to_owned)
        .collect())
}

async fn tags_come_in_order_and_in_pages(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let image = Image::small("tags")?;
    let digest = session.push_image(REPOSITORY, "latest", &image).await?;
    let mut tags: Vec<String> = (0..24)
        .map(|number| format!("v{number}"))
        .chain(["A".into(), "_x".into()])
        .collect();
    let reference = format!("{digest}?tag={}", tags.join("&tag="));
    session
        .put_manifest(REPOSITORY, &reference, media::MANIFEST, &image.manifest)
        .await?
        .expect(201)?;
    tags.push("latest".into());
    tags.sort();

    let all = format!("/v2/{REPOSITORY}/tags/list");
    assert_eq!(everything(&session, &all, "tags").await?, (tags.clone(), 1));
    assert_eq!(
        everything(&session, &format!("{all}?n=5"), "tags").await?,
        (tags.clone(), 6)
    );
    let after = everything(&session, &format!("{all}?n=100&last={}", tags[9]), "tags").await?;
    assert_eq!(after, (tags[10..].to_vec(), 1));
    // A tag that is not there is a place in the order like any other.
    let after = everything(&session, &format!("{all}?last=v"), "tags").await?;
    assert_eq!(
        after.0,
        tags.iter()
            .filter(|tag| tag.as_str() > "v")
            .cloned()
            .collect::<Vec<_>>()
    );
    cluster.stop().await.map(drop)
}

async fn odd_page_sizes_mean_what_the_specification_says(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let image = Image::small("odd")?;
    session.push_image(REPOSITORY, "one", &image).await?;
    session.push_image(REPOSITORY, "two", &image).await?;
    let none = session
        .get(&format!("/v2/{REPOSITORY}/tags/list?n=0"))
        .await?
        .expect(200)?;
    assert_eq!(none.json()?["tags"], serde_json::json!([]));
    assert!(none.next_page().is_none());
    let exact = session
        .get(&format!("/v2/{REPOSITORY}/tags/list?n=2"))
        .await?
        .expect(200)?;
    assert_eq!(names(&exact.json()?, "tags")?, ["one", "two"]);
    assert!(exact.next_page().is_none(), "a full last page is the last");
    session
        .get(&format!("/v2/{REPOSITORY}/tags/list?n=many"))
        .await?
        .expect(400)?;
    cluster.stop().await.map(drop)
}

async fn a_catalog_shows_what_the_caller_may_pull(mode: Mode) -> Result<()> {
    let identities = Identities::start()
        .await
        .grant("ann", "ann", &["pull", "push"])
        .grant("reader", "ann/b", &["pull"]);
    let cluster = identities
        .configure(Cluster::setup(mode))
        .with_public("open")
        .start()
        .await?;
    let names = ["ann/a", "ann/b", "ann/b/c", "ann/bee", "open/one", "zone/one"];
    let developer = cluster.developer().await?;
    let session = developer.session_for(&names).await?;
    for name in names {
        session.push_image(name, "latest", &Image::small(name)?).await?;
    }
    let anonymous = cluster.anonymous()?;
    let expected = [
        (developer, names.to_vec()),
        (
            identities.user(&anonymous, "ann").await?,
            vec!["ann/a", "ann/b", "ann/b/c", "ann/bee", "open/one"],
        ),
        (
            identities.user(&anonymous, "reader").await?,
            vec!["ann/b", "ann/b/c", "open/one"],
        ),
        (anonymous, vec!["open/one"]),
    ];
    for (registry, expected) in expected {
        let session = registry.session(&["registry:catalog:*"]).await?;
        assert_eq!(
            everything(&session, "/v2/_catalog", "repositories").await?.0,
            expected
        );
        assert_eq!(
            everything(&session, "/v2/_catalog?n=2", "repositories").await?.0,
            expected
        );
    }
    cluster.stop().await.map(drop)
}
