//! Disks without room.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use roadstead_integration_tests::deadline::eventually;
use roadstead_integration_tests::image::{Image, media, noise, sha256};
use roadstead_integration_tests::registry::with_query;
use roadstead_integration_tests::{Reply, Session};
use roadstead_testkit::{TestDirectory, test_dir};

use crate::store::files_in;
use crate::wire::received;
use crate::world::{PATIENCE, Plan};

const REPOSITORY: &str = "full/one";
const MIB: usize = 1024 * 1024;

/// A small disk, until dropped. Must outlive whoever keeps files there.
struct Disk {
    directory: TestDirectory,
}

impl Disk {
    fn mount(mebibytes: usize) -> Result<Self> {
        let directory = test_dir();
        let options = format!("size={mebibytes}m,mode=700");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "roadstead-test"])
            .arg(directory.path())
            .output()?;
        ensure!(mount.status.success(), "mount: {mount:?}");
        Ok(Self { directory })
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Takes all the room there is.
    fn fill(&self) -> Result<()> {
        let mut filler = OpenOptions::new().append(true).create(true).open(self.filler())?;
        loop {
            match filler.write_all(&[0; 4096]) {
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                written => written?,
            }
        }
    }

    /// Leaves this much of what [`Disk::fill`] took.
    fn make_room(&self, bytes: usize) -> Result<()> {
        let filler = File::options().write(true).open(self.filler())?;
        let length = filler.metadata()?.len();
        Ok(filler.set_len(length.saturating_sub(bytes.try_into()?))?)
    }

    fn empty(&self) -> Result<()> {
        Ok(fs::remove_file(self.filler())?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a test that failed may still have files open.
        let unmount = Command::new("umount").arg("--lazy").arg(self.path()).status();
        if !unmount.as_ref().is_ok_and(std::process::ExitStatus::success) {
            eprintln!("cannot unmount {}: {unmount:?}", self.path().display());
        }
    }
}

/// Requires the answer to whoever brings more than there is room for: one that clients show and do not repeat.
fn no_room(reply: Reply) -> Result<Reply> {
    let reply = reply.expect_error(507, "DENIED")?;
    ensure!(
        reply.json()?["errors"][0]["message"]
            .as_str()
            .is_some_and(|text| text.contains("space"))
    );
    ensure!(reply.optional_header("retry-after").is_none());
    Ok(reply)
}

async fn put(session: &Session, tag: &str, image: &Image) -> Result<Reply> {
    session
        .put_manifest(REPOSITORY, tag, media::MANIFEST, &image.manifest)
        .await
}

async fn patch(session: &Session, location: &str, bytes: &[u8]) -> Result<Reply> {
    let pieces = bytes.chunks(MIB / 4).map(|piece| piece.to_vec().into()).collect();
    session
        .request(Method::PATCH, location)
        .chunked(pieces)
        .send()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_too_large_for_its_disk_is_refused_and_given_up() -> Result<()> {
    let disk = Disk::mount(16)?;
    let root = disk.path().display().to_string();
    let plan = Plan::new().with("blobs.disk_reserve", 0);
    let world = plan.with("blobs.root", root).start().await?;
    let session = world.session(&[REPOSITORY]).await?;
    let image = Image::small("large")?;
    session.push_image(REPOSITORY, "v1", &image).await?;

    let location = session.open_upload(REPOSITORY).await?;
    no_room(patch(&session, &location, &noise(21, 24 * MIB)).await?)?;
    ensure!(session.pull_everything(REPOSITORY, "v1").await? == image.digest());
    put(&session, "v2", &image).await?.expect(201)?;
    session.delete(&location).await?.expect(204)?;
    eventually("the bytes are discarded", PATIENCE, async || {
        Ok((files_in(&disk.path().join("uploads"))? == 0).then_some(()))
    })
    .await?;
    let bytes = noise(22, 5 * MIB);
    let digest = session.push_blob(REPOSITORY, &bytes).await?;
    let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
    ensure!(session.get(&path).await?.expect(200)?.body == bytes);
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_goes_on_when_there_is_room_again() -> Result<()> {
    let disk = Disk::mount(16)?;
    let root = disk.path().display().to_string();
    let plan = Plan::new()
        .with("blobs.disk_reserve", 0)
        .with("blobs.checkpoint_interval", MIB);
    let world = plan.with("blobs.root", root).start().await?;
    let session = world.session(&[REPOSITORY]).await?;
    disk.fill()?;
    disk.make_room(3 * MIB)?;
    let bytes = noise(23, 5 * MIB);
    let location = session.open_upload(REPOSITORY).await?;
    no_room(patch(&session, &location, &bytes).await?)?;
    // Also without a byte to come: the session is only ever what was written.
    let finish = with_query(&location, "digest", sha256(&bytes).as_str());
    session.request(Method::PUT, &finish).send().await?.expect(400)?;

    disk.empty()?;
    let have = received(&session.get(&location).await?.expect(204)?)?;
    let location = session.append(&location, have, &bytes[have..]).await?;
    let blob = session
        .finish(&location, &sha256(&bytes), &[])
        .await?
        .expect(201)?;
    ensure!(session.get(&blob.location()?).await?.expect(200)?.body == bytes);
    world.stop().await
}

/// Bytes must never take the room that giving them back needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_of_bytes_can_still_be_tidied() -> Result<()> {
    let disk = Disk::mount(24)?;
    let plan = Plan::new().with("blobs.disk_reserve", 4 * MIB);
    let world = plan.keep_data_in(disk.path()).start().await?;
    let session = world.session(&[REPOSITORY]).await?;
    let image = Image::small("tidy")?;
    session.push_image(REPOSITORY, "v1", &image).await?;

    let location = session.open_upload(REPOSITORY).await?;
    no_room(patch(&session, &location, &noise(24, 32 * MIB)).await?)?;
    ensure!(session.pull_everything(REPOSITORY, "v1").await? == image.digest());
    for number in 0..20 {
        put(&session, &format!("tag-{number}"), &image)
            .await?
            .expect(201)?;
    }
    let tag = format!("/v2/{REPOSITORY}/manifests/tag-3");
    session.delete(&tag).await?.expect(202)?;
    session.delete(&location).await?.expect(204)?;
    session.push_blob(REPOSITORY, &noise(25, 4 * MIB)).await?;
    world.store.events().await?;
    world.store.check()?;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_without_room_answers_reads_and_recovers() -> Result<()> {
    let disk = Disk::mount(16)?;
    let plan = Plan::new().with("blobs.disk_reserve", 0);
    let world = plan.keep_data_in(disk.path()).start().await?;
    let session = world.session(&[REPOSITORY]).await?;
    let image = Image::small("metadata")?;
    session.push_image(REPOSITORY, "v1", &image).await?;
    world.store.events().await?;

    disk.fill()?;
    let acknowledged = put_until_full(&session, &image).await?;
    no_room(
        session
            .request(Method::POST, &format!("/v2/{REPOSITORY}/blobs/uploads/"))
            .send()
            .await?,
    )?;
    ensure!(session.pull_everything(REPOSITORY, "v1").await? == image.digest());
    session
        .get(&format!("/v2/{REPOSITORY}/tags/list"))
        .await?
        .expect(200)?;
    world.session(&[REPOSITORY]).await?;

    disk.empty()?;
    put(&session, "after", &image).await?.expect(201)?;
    session
        .push_image(REPOSITORY, "v2", &Image::small("after")?)
        .await?;
    for number in 0..acknowledged {
        let tag = format!("full-{number}");
        ensure!(session.pull_everything(REPOSITORY, &tag).await? == image.digest());
        ensure!(world.store.history(REPOSITORY, &tag)?.len() == 1);
    }
    let refused = format!("/v2/{REPOSITORY}/manifests/full-{acknowledged}");
    session.get(&refused).await?.expect(404)?;
    let events = world.store.events().await?;
    let about = |tag: &str| {
        let subject = format!("{REPOSITORY}:{tag}");
        events
            .iter()
            .filter(|event| event["subject"] == subject.as_str() && event["data"]["method"] == "PUT")
            .count()
    };
    for number in 0..acknowledged {
        ensure!(about(&format!("full-{number}")) == 1);
    }
    ensure!(
        about(&format!("full-{acknowledged}")) == 0,
        "what was refused is not announced"
    );
    ensure!(about("after") == 1);
    world.store.check()?;
    world.stop().await
}

/// Puts tags until one is refused. The log of the database has some room in it for the first ones.
async fn put_until_full(session: &Session, image: &Image) -> Result<usize> {
    for number in 0..10_000 {
        let reply = put(session, &format!("full-{number}"), image).await?;
        if reply.status != 201 {
            no_room(reply)?;
            return Ok(number);
        }
    }
    anyhow::bail!("the disk is never full")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_without_room_holds_nobody_up_and_misses_nothing() -> Result<()> {
    let disk = Disk::mount(2)?;
    let plan = Plan::new().with("metadata.outbox_lease", "1s");
    fs::create_dir(plan.data())?;
    fs::set_permissions(plan.data(), fs::Permissions::from_mode(0o700))?;
    symlink(disk.path(), plan.data().join("events")).context("put the log on the small disk")?;
    let world = plan.start().await?;
    let session = world.session(&[REPOSITORY]).await?;
    disk.fill()?;
    let failures = async || world.metric("events_drain_failures_total").await;
    let failed_before = failures().await?;
    let mut pushed = 0;
    // As with metadata, a few still fit into what the log's database has.
    eventually("the log is full", PATIENCE, async || {
        let image = Image::small(&format!("log {pushed}"))?;
        session
            .push_image(REPOSITORY, &format!("v{pushed}"), &image)
            .await?;
        pushed += 1;
        Ok((failures().await? > failed_before && world.store.count("outbox", "true")? > 0).then_some(()))
    })
    .await?;
    disk.empty()?;
    let events = world.store.events().await?;
    for number in 0..pushed {
        let subject = format!("{REPOSITORY}:v{number}");
        let about = events.iter().filter(|event| event["subject"] == subject.as_str());
        ensure!(about.count() == 1, "v{number}");
    }
    world.store.check()?;
    world.stop().await
}
