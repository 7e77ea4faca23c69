//! The demonstration: a registry in this process, a token, a push, a pull, and what to type next.

use std::time::Instant;

use roadstead_types::{Clock, Digest, RepositoryName};

use crate::{
    cache::{CachedToken, TokenCache, Wanted},
    error::Error,
    host::RegistryHost,
    image::{Content, Image},
    login::{self, Login},
    next_commands,
    oci::{Challenge, challenge},
    registry::{Registry, Transport},
    steps::{self, Steps},
    transfer::Repository,
};

/// Where the demonstration pushes.
pub(crate) const REPOSITORY: &str = "quickstart/hello";
/// Under which tag.
pub(crate) const TAG: &str = "v1";

/// Small enough that the larger layers take several requests.
const CHUNK_SIZE: usize = 64 * 1024;

/// Pushes, pulls and verifies against a registry that runs with its development issuer, and says what it does.
pub(crate) async fn demonstrate(cache: &TokenCache, clock: &Clock, host: &RegistryHost) -> Result<(), Error> {
    let started = Instant::now();
    let mut steps = Steps::new();

    let registry = Registry::connect(host, &Transport::default()).await?;
    let challenge = challenge(&registry).await?;
    steps.done(
        "challenge",
        &format!("tokens come from {}", challenge.realm),
        None,
    );
    let token = login::login(
        cache,
        clock,
        host,
        &Transport::default(),
        Login::Dev,
        Wanted::default(),
    )
    .await?;
    let life = minutes(token.expires_at - clock.unix_seconds());
    steps.done(
        "access token",
        &format!("for {}, {life} minutes", token.identity.subject),
        None,
    );
    let repository = open(&registry, &challenge, &token).await?;
    let life = repository
        .expires_in
        .map_or_else(String::new, |seconds| format!(", {} minutes", seconds / 60));
    steps.done(
        "registry token",
        &format!("pull and push in {REPOSITORY}{life}"),
        None,
    );

    let image = Image::build()?;
    let built = format!("linux/amd64 and linux/arm64, {}", bytes(image.size()));
    steps.done("build", &built, Some(&image.index.digest));
    push(&repository, &image, &mut steps).await?;
    pull(&repository, &image, &mut steps).await?;

    let content = image.blobs.len() + image.manifests.len() + 1;
    println!(
        "\nVerified: {content} objects, {}, pushed and pulled back identical in {}.",
        bytes(image.size()),
        steps::duration(started.elapsed())
    );
    println!("{}", next_commands::text(host, REPOSITORY, TAG));
    Ok(())
}

async fn open<'a>(
    registry: &'a Registry,
    challenge: &Challenge,
    token: &CachedToken,
) -> Result<Repository<'a>, Error> {
    let name = RepositoryName::parse(REPOSITORY).map_err(Error::internal)?;
    Repository::open(registry, challenge, name, &token.access_token).await
}

async fn push(repository: &Repository<'_>, image: &Image, steps: &mut Steps) -> Result<(), Error> {
    for blob in &image.blobs {
        let what = if repository.has_blob(&blob.digest).await? {
            format!("{}, {}, already there", blob.title, bytes(blob.bytes.len()))
        } else {
            let requests = repository.upload(&blob.digest, &blob.bytes, CHUNK_SIZE).await?;
            format!("{}, {}, {requests} requests", blob.title, bytes(blob.bytes.len()))
        };
        steps.done("push", &what, Some(&blob.digest));
    }
    for manifest in &image.manifests {
        put_manifest(repository, manifest.digest.as_str(), manifest).await?;
        steps.done("push", &manifest.title, Some(&manifest.digest));
    }
    put_manifest(repository, TAG, &image.index).await?;
    steps.done(
        "push",
        &format!("{} as {REPOSITORY}:{TAG}", image.index.title),
        Some(&image.index.digest),
    );
    Ok(())
}

async fn put_manifest(repository: &Repository<'_>, reference: &str, manifest: &Content) -> Result<(), Error> {
    let stored = repository
        .put_manifest(reference, manifest.media_type, &manifest.bytes)
        .await?;
    expect_digest(
        &format!("the registry's digest of the {}", manifest.title),
        stored.as_ref(),
        &manifest.digest,
    )
}

async fn pull(repository: &Repository<'_>, image: &Image, steps: &mut Steps) -> Result<(), Error> {
    let resolved = repository.resolve(TAG).await?;
    expect_digest(
        &format!("the digest that {TAG} points at"),
        resolved.as_ref(),
        &image.index.digest,
    )?;
    steps.done(
        "resolve",
        &format!("{REPOSITORY}:{TAG}"),
        Some(&image.index.digest),
    );
    let manifests = [&image.index]
        .into_iter()
        .chain(&image.manifests)
        .map(|content| ("manifests", content));
    let blobs = image.blobs.iter().map(|content| ("blobs", content));
    for (kind, content) in manifests.chain(blobs) {
        let bytes = repository.get(kind, &content.digest).await?;
        // Both: the digest says that the bytes are what was asked for, the comparison that they are what was sent.
        let digest = Digest::sha256(&bytes);
        expect_digest(
            &format!("the digest of the pulled {}", content.title),
            Some(&digest),
            &content.digest,
        )?;
        if bytes != content.bytes {
            return Err(Error::Verification(format!(
                "the pulled {} differs from the pushed",
                content.title
            )));
        }
        steps.done("pull, verify", &content.title, Some(&digest));
    }
    Ok(())
}

fn expect_digest(what: &str, found: Option<&Digest>, wanted: &Digest) -> Result<(), Error> {
    match found {
        Some(found) if found == wanted => Ok(()),
        Some(found) => Err(Error::Verification(format!("{what} is {found}, not {wanted}"))),
        None => Err(Error::Verification(format!("{what} is missing, not {wanted}"))),
    }
}

fn minutes(seconds: i64) -> i64 {
    (seconds + 30) / 60
}

fn bytes(count: usize) -> String {
    if count < 1024 {
        format!("{count} B")
    } else {
        format!("{} KiB", count.div_ceil(1024))
    }
}
