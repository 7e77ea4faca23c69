//! `roadstead iam roles`.

use roadstead_proto::auth::v1::{
    CreateRoleRequest, DeleteRoleRequest, GetRoleRequest, ListRolesRequest, Role, UpdateRoleRequest,
    role_service_client::RoleServiceClient,
};
use roadstead_types::Clock;
use serde_json::{Value, json};

use super::split_name;
use crate::{
    args::{Remote, Roles},
    cache::TokenCache,
    error::Error,
    grpc::{AdminApi, Channel},
    listing::{Shown, pages, print_all, print_done, print_one},
};

impl Shown for Role {
    const COLUMNS: &'static [&'static str] = &["ROLE", "KIND", "DESCRIPTION", "CAPABILITIES"];

    fn cells(&self) -> Vec<String> {
        let kind = if self.built_in { "built-in" } else { "custom" };
        vec![
            self.name.clone(),
            kind.to_owned(),
            self.description.clone(),
            self.capabilities.join(" "),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "built_in": self.built_in,
            "description": self.description,
            "capabilities": self.capabilities,
        })
    }
}

pub(super) async fn run(command: Roles, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    match command {
        Roles::Create {
            name,
            description,
            capabilities,
            asking,
        } => {
            let (api, mut client) = open(asking.remote, cache, clock).await?;
            let (group, name) = split_name(&name);
            let request = CreateRoleRequest {
                group,
                name,
                description,
                capabilities,
            };
            let answer = api.answer("CreateRole", client.create_role(request).await)?;
            print_one(asking.output, &answer.role.unwrap_or_default())
        }
        Roles::List { group, listing } => {
            let (api, mut client) = open(listing.asking.remote, cache, clock).await?;
            let roles = pages(listing.limit, async |page_size, page_token| {
                let request = ListRolesRequest {
                    group: group.clone(),
                    page_size,
                    page_token,
                };
                let page = api.answer("ListRoles", client.list_roles(request).await)?;
                Ok((page.roles, page.next_page_token))
            });
            print_all(listing.asking.output, &roles.await?)
        }
        Roles::Show { name, asking } => {
            let (api, mut client) = open(asking.remote, cache, clock).await?;
            print_one(asking.output, &get(&api, &mut client, name).await?)
        }
        Roles::Update {
            name,
            description,
            capabilities,
            asking,
        } => {
            let (api, mut client) = open(asking.remote, cache, clock).await?;
            // The call replaces both.
            let description = match description {
                Some(description) => description,
                None => get(&api, &mut client, name.clone()).await?.description,
            };
            let request = UpdateRoleRequest {
                name,
                description,
                capabilities,
            };
            let answer = api.answer("UpdateRole", client.update_role(request).await)?;
            print_one(asking.output, &answer.role.unwrap_or_default())
        }
        Roles::Delete { name, asking } => {
            let (api, mut client) = open(asking.remote, cache, clock).await?;
            let done = format!("Deleted the role {name}.");
            let answer = client.delete_role(DeleteRoleRequest { name }).await;
            api.answer("DeleteRole", answer)?;
            print_done(asking.output, &done)
        }
    }
}

async fn get(api: &AdminApi, client: &mut RoleServiceClient<Channel>, name: String) -> Result<Role, Error> {
    let answer = client.get_role(GetRoleRequest { name }).await;
    Ok(api.answer("GetRole", answer)?.role.unwrap_or_default())
}

async fn open(
    remote: Remote,
    cache: &TokenCache,
    clock: &Clock,
) -> Result<(AdminApi, RoleServiceClient<Channel>), Error> {
    let api = AdminApi::open(remote, cache, clock).await?;
    let client = RoleServiceClient::with_origin(api.channel(), api.origin());
    Ok((api, client))
}
