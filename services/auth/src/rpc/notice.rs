use roadstead_proto::auth::v1::{
    NoteRepositoryRequest, NoteRepositoryResponse, repository_notice_service_server::RepositoryNoticeService,
};
use roadstead_types::RepositoryName;
use tonic::{Request, Response, Status};

use super::Service;
use crate::{domain::event::Author, error::Error};

#[tonic::async_trait]
impl RepositoryNoticeService for Service {
    async fn note_repository(
        &self,
        request: Request<NoteRepositoryRequest>,
    ) -> Result<Response<NoteRepositoryResponse>, Status> {
        let name = RepositoryName::parse(&request.get_ref().repository)
            .map_err(|error| Error::NameInvalid(error.to_string()))?;
        let Some((above, _)) = name.as_str().rsplit_once('/') else {
            return Ok(Response::new(NoteRepositoryResponse {}));
        };
        let path = above.to_owned();
        // Mostly they are there, which a read finds out without the writer.
        let there = self
            .0
            .store
            .snapshot("find_group", |snapshot| Ok(snapshot.group(&path)?.is_some()))
            .await?;
        if !there {
            let made = self.0.store.write("note_repository", move |tx| {
                tx.ensure_groups(&path, &Author::own("metadata"))
            });
            match made.await {
                // Below a deleted group there are no groups; the repository that was there before stays.
                Ok(()) | Err(Error::PathTombstoned(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Response::new(NoteRepositoryResponse {}))
    }
}
