//! Referrers: filtering, paging, and what deletes do to them.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use roadstead_integration_tests::image::{Image, artifact, descriptor, media};
use roadstead_integration_tests::{Cluster, Mode, in_both_modes};

in_both_modes!(
    referrers_are_listed_and_filtered,
    more_than_a_response_holds_comes_in_pages,
    an_unknown_subject_has_none,
);

const REPOSITORY: &str = "referrers/one";
/// The most that clients read.
const LARGEST_RESPONSE: usize = 4 * 1024 * 1024;

async fn referrers_are_listed_and_filtered(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let image = Image::small("subject")?;
    let subject = session.push_image(REPOSITORY, "latest", &image).await?;
    session.push_blob(REPOSITORY, b"{}").await?;
    let mut pushed = Vec::new();
    for kind in ["application/vnd.test.sbom", "application/vnd.test.signature"] {
        let bytes = artifact(kind, Some(descriptor(media::MANIFEST, &image.manifest)), kind)?;
        pushed.push(
            session
                .push_manifest(REPOSITORY, &sha(&bytes), media::MANIFEST, &bytes)
                .await?
                .to_string(),
        );
    }
    let path = format!("/v2/{REPOSITORY}/referrers/{subject}");
    let reply = session.get(&path).await?.expect(200)?;
    assert_eq!(reply.header("content-type")?, media::INDEX);
    let all = reply.json()?;
    assert_eq!(digests(&all), pushed.iter().cloned().collect());
    assert_eq!(
        all["manifests"][0]["annotations"]["test.roadstead.note"],
        all["manifests"][0]["artifactType"]
    );

    let reply = session
        .get(&format!("{path}?artifactType=application/vnd.test.sbom"))
        .await?
        .expect(200)?;
    assert_eq!(reply.header("oci-filters-applied")?, "artifactType");
    assert_eq!(digests(&reply.json()?), BTreeSet::from([pushed[0].clone()]));

    session
        .delete(&format!("/v2/{REPOSITORY}/manifests/{}", pushed[0]))
        .await?
        .expect(202)?;
    assert_eq!(
        digests(&session.get(&path).await?.json()?),
        BTreeSet::from([pushed[1].clone()])
    );
    cluster.stop().await.map(drop)
}

async fn more_than_a_response_holds_comes_in_pages(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    session.push_blob(REPOSITORY, b"{}").await?;
    let absent = descriptor(media::MANIFEST, b"whatever");
    // Annotations are copied into the descriptor, so twenty of these exceed one response.
    let mut pushed = BTreeSet::new();
    for number in 0..20 {
        let note = format!("{number}{}", "x".repeat(250_000));
        let bytes = artifact("application/vnd.test", Some(absent.clone()), &note)?;
        pushed.insert(
            session
                .push_manifest(REPOSITORY, &sha(&bytes), media::MANIFEST, &bytes)
                .await?
                .to_string(),
        );
    }
    let subject = absent["digest"].as_str().context("a digest")?;
    let (mut found, mut pages) = (BTreeSet::new(), 0);
    let mut next = Some(format!("/v2/{REPOSITORY}/referrers/{subject}"));
    while let Some(path) = next {
        let reply = session.get(&path).await?.expect(200)?;
        assert!(reply.body.len() <= LARGEST_RESPONSE, "{} bytes", reply.body.len());
        let page = digests(&reply.json()?);
        assert!(found.is_disjoint(&page), "a page repeats what another had");
        found.extend(page);
        next = reply.next_page();
        pages += 1;
        assert!(pages <= 4, "clients that read one page only deserve a full one");
    }
    assert_eq!(found, pushed);
    assert!(pages >= 2);
    cluster.stop().await.map(drop)
}

async fn an_unknown_subject_has_none(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster
        .developer()
        .await?
        .session_for(&["referrers/never"])
        .await?;
    let zero = format!("sha256:{}", "0".repeat(64));
    let reply = session
        .get(&format!("/v2/referrers/never/referrers/{zero}"))
        .await?
        .expect(200)?;
    assert_eq!(reply.header("content-type")?, media::INDEX);
    assert_eq!(reply.json()?["manifests"], serde_json::json!([]));
    session
        .get("/v2/referrers/never/referrers/sha256:short")
        .await?
        .expect(400)?;
    cluster.stop().await.map(drop)
}

fn sha(bytes: &[u8]) -> String {
    roadstead_integration_tests::image::sha256(bytes).to_string()
}

fn digests(index: &serde_json::Value) -> BTreeSet<String> {
    let manifests = index["manifests"].as_array().into_iter().flatten();
    manifests
        .filter_map(|descriptor| descriptor["digest"].as_str())
        .map(ToOwned::to_owned)
        .collect()
}
