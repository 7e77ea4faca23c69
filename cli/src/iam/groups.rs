//! `roadstead iam groups`.

use roadstead_proto::auth::v1::{
    CreateGroupRequest, DeleteGroupRequest, GetGroupRequest, Group, ListGroupsRequest, UpdateGroupRequest,
    group_service_client::GroupServiceClient,
};
use roadstead_types::Clock;
use serde_json::{Value, json};

use crate::{
    args::{Asking, Groups},
    cache::TokenCache,
    error::Error,
    grpc::{AdminApi, Channel},
    listing::{Shown, pages, print_all, print_done, print_one},
    when,
};

impl Shown for Group {
    const COLUMNS: &'static [&'static str] = &["PATH", "NAME", "CREATED", "BY"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.path.clone(),
            self.display_name.clone(),
            when::of_millis(self.created_at).unwrap_or_default(),
            self.created_by.clone(),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "path": self.path,
            "display_name": self.display_name,
            "created_at": when::of_millis(self.created_at),
            "created_by": self.created_by,
        })
    }
}

pub(super) async fn run(command: Groups, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    match command {
        Groups::Create {
            path,
            display_name,
            restore,
            asking,
        } => {
            let (api, mut client) = open(asking.remote, cache, clock).await?;
            let request = CreateGroupRequest {
                path,
                display_name,
                restore,
            };
            let answer = api.answer("CreateGroup", client.create_group(request).await)?;
            print_one(asking.output, &answer.group.unwrap_or_default())
        }
        Groups::List { path, listing } => {
            let (api, mut client) = open(listing.asking.remote, cache, clock).await?;
            let groups = pages(listing.limit, async |page_size, page_token| {
                let request = ListGroupsRequest {
                    path: path.clone(),
                    page_size,
                    page_token,
                };
                let page = api.answer("ListGroups", client.list_groups(request).await)?;
                Ok((page.groups, page.next_page_token))
            });
            print_all(listing.asking.output, &groups.await?)
        }
        Groups::Show { path, asking } => {
            let (api, mut client) = open(asking.remote, cache, clock).await?;
            let answer = client.get_group(GetGroupRequest { path }).await;
            let answer = api.answer("GetGroup", answer)?;
            print_one(asking.output, &answer.group.unwrap_or_default())
        }
        Groups::Update {
            path,
            display_name,
            asking,
        } => {
            let (api, mut client) = open(asking.remote, cache, clock).await?;
            let answer = client
                .update_group(UpdateGroupRequest { path, display_name })
                .await;
            let answer = api.answer("UpdateGroup", answer)?;
            print_one(asking.output, &answer.group.unwrap_or_default())
        }
        Groups::Delete { path, asking } => delete(path, asking, cache, clock).await,
    }
}

async fn delete(path: String, asking: Asking, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    let (api, mut client) = open(asking.remote, cache, clock).await?;
    let done = format!("Deleted the group {path}. Its repositories are still there.");
    let answer = client.delete_group(DeleteGroupRequest { path }).await;
    api.answer("DeleteGroup", answer)?;
    print_done(asking.output, &done)
}

async fn open(
    remote: crate::args::Remote,
    cache: &TokenCache,
    clock: &Clock,
) -> Result<(AdminApi, GroupServiceClient<Channel>), Error> {
    let api = AdminApi::open(remote, cache, clock).await?;
    let client = GroupServiceClient::with_origin(api.channel(), api.origin());
    Ok((api, client))
}
