//! Tells auth of repositories that were made, so that the groups above them come to be.
//!
//! On a best effort: no push waits for it, and what auth could not be told for a while is dropped and counted. Nothing is lost
//! by it that somebody who names such a group does not make.

use std::time::Duration;

use roadstead_proto::auth::v1::NoteRepositoryRequest;
use roadstead_proto::auth::v1::repository_notice_service_client::RepositoryNoticeServiceClient;
use roadstead_rpc::{ErrorReason, RpcChannel, TaskSet, reason};
use roadstead_types::RepositoryName;
use tokio::sync::mpsc;

/// Repositories that wait to be told of. Making one takes a push, so that these are many.
const WAITING: usize = 1024;
/// With the pauses between them half a minute, in which auth is started again.
const ATTEMPTS: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Where new repositories are noted. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Notices(mpsc::Sender<RepositoryName>);

impl Notices {
    /// Starts the task that tells auth.
    pub(crate) fn start(auth: RpcChannel, tasks: &TaskSet) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let stop = tasks.token().clone();
        let work = tell_all(RepositoryNoticeServiceClient::new(auth), receiver);
        tasks.spawn("metadata-notices", async move {
            stop.run_until_cancelled(work).await;
        });
        Self(sender)
    }

    /// Notes a repository if there is room.
    pub(crate) fn repository_made(&self, name: &RepositoryName) {
        if self.0.try_send(name.clone()).is_err() {
            count_dropped();
        }
    }
}

async fn tell_all(
    mut auth: RepositoryNoticeServiceClient<RpcChannel>,
    mut receiver: mpsc::Receiver<RepositoryName>,
) {
    while let Some(name) = receiver.recv().await {
        if let Err(status) = tell(&mut auth, &name).await {
            tracing::warn!(cause = status.message(), "auth was not told of a new repository");
            count_dropped();
        }
    }
}

async fn tell(
    auth: &mut RepositoryNoticeServiceClient<RpcChannel>,
    name: &RepositoryName,
) -> Result<(), tonic::Status> {
    let mut pause = FIRST_PAUSE;
    for attempt in 1.. {
        let request = NoteRepositoryRequest {
            repository: name.to_string(),
        };
        match auth.note_repository(request).await {
            Err(status) if attempt < ATTEMPTS && reason(&status) != ErrorReason::NameInvalid => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            outcome => return outcome.map(drop),
        }
    }
    Ok(())
}

fn count_dropped() {
    metrics::counter!("metadata_notices_dropped_total").increment(1);
}
