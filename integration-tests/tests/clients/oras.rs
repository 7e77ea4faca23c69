//! ORAS: artifacts and referrers; helm pushes with the same library.

use std::path::Path;

use anyhow::{Context as _, Result};
use roadstead_integration_tests::Transport;
use serde_json::Value;

use crate::world::{Place, World, digest_in, in_every_place, lines};

in_every_place!(oras_attaches_and_discovers, oras_copies_lists_and_deletes);

/// Runs oras with what it needs to reach the registry: `flags` are the names under which it takes that.
async fn oras_with(world: &World, prefixes: &[&str], arguments: &[&str]) -> Result<String> {
    let flags: Vec<String> = prefixes
        .iter()
        .map(|prefix| match world.sandbox.transport() {
            Transport::Plain => format!("--{prefix}plain-http"),
            Transport::Tls { ca, .. } => format!("--{prefix}ca-file={}", ca.display()),
        })
        .collect();
    let arguments: Vec<&str> = arguments
        .iter()
        .copied()
        .chain(flags.iter().map(String::as_str))
        .collect();
    world.sandbox.run("oras", &arguments).await
}

pub(crate) async fn oras(world: &World, arguments: &[&str]) -> Result<String> {
    oras_with(world, &[""], arguments).await
}

pub(crate) async fn log_in(world: &World) -> Result<()> {
    let flag = match world.sandbox.transport() {
        Transport::Plain => "--plain-http".to_owned(),
        Transport::Tls { ca, .. } => format!("--ca-file={}", ca.display()),
    };
    world
        .log_in("oras", &["login", &flag, world.sandbox.registry()])
        .await
}

/// Writes a file to push. oras wants paths below the working directory, or to be told not to mind.
fn file(world: &World, name: &str, content: &str) -> Result<String> {
    let path = world.sandbox.work().join(name);
    std::fs::write(&path, content)?;
    Ok(path.display().to_string())
}

async fn push_artifact(world: &World, name: &str) -> Result<String> {
    let content = file(world, "artifact.txt", "an artifact")?;
    let kind = "--artifact-type=application/vnd.test.artifact";
    let pushed = oras(
        world,
        &[
            "push",
            "--disable-path-validation",
            kind,
            name,
            &format!("{content}:text/plain"),
        ],
    )
    .await?;
    Ok(digest_in(pushed.split("Digest: ").nth(1).context("no digest")?)?.to_string())
}

async fn oras_attaches_and_discovers(place: Place) -> Result<()> {
    let world = World::open(place).await?;
    log_in(&world).await?;
    let artifact = world.name("oras/one:v1");
    let digest = push_artifact(&world, &artifact).await?;
    assert_eq!(world.digest("oras/one", "v1").await?.as_str(), digest);
    for (kind, content) in [("sbom", "what is in it"), ("signature", "who made it")] {
        let path = file(&world, kind, content)?;
        let kind = format!("--artifact-type=application/vnd.test.{kind}");
        oras(
            &world,
            &[
                "attach",
                "--disable-path-validation",
                &kind,
                &artifact,
                &format!("{path}:text/plain"),
            ],
        )
        .await?;
    }
    let discover = async |filter: &[&str]| -> Result<Vec<Value>> {
        let found = oras(
            &world,
            &[&["discover", "--format=json"], filter, &[&artifact]].concat(),
        )
        .await?;
        let found: Value = serde_json::from_str(&found)?;
        Ok(found["referrers"].as_array().context("no referrers")?.clone())
    };
    assert_eq!(discover(&[]).await?.len(), 2);
    let signatures = discover(&["--artifact-type=application/vnd.test.signature"]).await?;
    assert_eq!(signatures.len(), 1);
    // Clients that find no referrers API leave a tag behind instead.
    assert_eq!(
        lines(&oras(&world, &["repo", "tags", &world.name("oras/one")]).await?),
        ["v1"]
    );

    let out = world.sandbox.work().join("out");
    let signature = signatures[0]["reference"].as_str().context("a reference")?;
    oras(
        &world,
        &[
            "pull",
            "--allow-path-traversal",
            "--output",
            &out.display().to_string(),
            signature,
        ],
    )
    .await?;
    let pulled = find_file(&out, "signature").or_else(|| Some(world.sandbox.work().join("signature")));
    assert_eq!(
        std::fs::read_to_string(pulled.context("nothing was pulled")?)?,
        "who made it"
    );

    let reference = format!("{}@{digest}", world.name("oras/one"));
    oras(&world, &["manifest", "delete", "--force", signature]).await?;
    assert_eq!(discover(&[]).await?.len(), 1);
    oras(&world, &["manifest", "delete", "--force", &reference]).await?;
    assert!(world.is_gone("oras/one", "v1").await?);
    world.close().await
}

fn find_file(directory: &Path, name: &str) -> Option<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).ok()?;
    entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find_map(|path| {
            if path.is_dir() {
                find_file(&path, name)
            } else {
                path.ends_with(name).then_some(path)
            }
        })
}

async fn oras_copies_lists_and_deletes(place: Place) -> Result<()> {
    let world = World::open(place).await?;
    log_in(&world).await?;
    let index = world.push_layout("oras/images").await?;
    let (from, to) = (world.name("oras/from:v1"), world.name("oras/to:v1"));
    let digest = push_artifact(&world, &from).await?;
    let note = file(&world, "note", "attached")?;
    let kind = "--artifact-type=application/vnd.test.note";
    oras(
        &world,
        &[
            "attach",
            "--disable-path-validation",
            kind,
            &from,
            &format!("{note}:text/plain"),
        ],
    )
    .await?;

    let both = ["from-", "to-"];
    oras_with(&world, &both, &["cp", "--recursive", &from, &to]).await?;
    assert_eq!(world.digest("oras/to", "v1").await?.as_str(), digest);
    let referrers = world
        .session("oras/to")
        .await?
        .get(&format!("/v2/oras/to/referrers/{digest}"))
        .await?;
    assert_eq!(
        referrers.expect(200)?.json()?["manifests"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    oras_with(
        &world,
        &both,
        &[
            "cp",
            &world.name("oras/images:multi"),
            &world.name("oras/to:multi"),
        ],
    )
    .await?;
    assert_eq!(world.digest("oras/to", "multi").await?, index);
    world
        .session("oras/to")
        .await?
        .pull_everything("oras/to", "multi")
        .await?;

    assert_eq!(
        lines(&oras(&world, &["repo", "ls", world.sandbox.registry()]).await?),
        ["oras/from", "oras/images", "oras/to"]
    );
    assert_eq!(
        lines(&oras(&world, &["repo", "tags", &world.name("oras/to")]).await?),
        ["multi", "v1"]
    );
    oras(&world, &["tag", &to, "stable"]).await?;
    assert_eq!(
        digest_in(&oras(&world, &["resolve", &world.name("oras/to:stable")]).await?)?.as_str(),
        digest
    );

    let blob = file(&world, "blob", "a lonely blob")?;
    let pushed = oras(
        &world,
        &["blob", "push", "--descriptor", &world.name("oras/to"), &blob],
    )
    .await?;
    let blob = format!("{}@{}", world.name("oras/to"), digest_in(&pushed)?);
    assert_eq!(
        oras(&world, &["blob", "fetch", "--output", "-", &blob]).await?,
        "a lonely blob"
    );
    oras(&world, &["blob", "delete", "--force", &blob]).await?;
    oras(&world, &["blob", "fetch", "--output", "-", &blob])
        .await
        .err()
        .context("what was deleted was fetched")?;
    world.close().await
}
