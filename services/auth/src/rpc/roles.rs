use roadstead_proto::auth::v1::{
    CreateRoleRequest, CreateRoleResponse, DeleteRoleRequest, DeleteRoleResponse, GetRoleRequest,
    GetRoleResponse, ListRolesRequest, ListRolesResponse, UpdateRoleRequest, UpdateRoleResponse,
    role_service_server::RoleService,
};
use tonic::{Request, Response, Status};

use super::{Service, encode};
use crate::{
    domain::{
        CapabilitySet,
        role::{BUILT_IN, built_in},
    },
    error::Error,
    iam::{Page, group_path, own_name, plain_text, roles},
};

fn parse_capabilities(names: &[String]) -> Result<CapabilitySet, Error> {
    let capabilities = CapabilitySet::parse(names.iter().map(String::as_str))
        .map_err(|name| Error::argument(format!("{name:?} is no capability")))?;
    if capabilities.is_empty() {
        return Err(Error::argument("a role has at least one capability"));
    }
    Ok(capabilities)
}

#[tonic::async_trait]
impl RoleService for Service {
    async fn create_role(
        &self,
        request: Request<CreateRoleRequest>,
    ) -> Result<Response<CreateRoleResponse>, Status> {
        let asked = request.get_ref();
        let group = group_path(&asked.group)?;
        let name = own_name(&asked.name)?;
        let description = plain_text(&asked.description)?;
        let capabilities = parse_capabilities(&asked.capabilities)?;
        let role = self
            .0
            .write_as(&request, "create_role", move |tx, caller| {
                roles::create(tx, caller, group, &name, description, capabilities)
            })
            .await?;
        Ok(Response::new(CreateRoleResponse {
            role: Some(encode::role(role)),
        }))
    }

    async fn get_role(&self, request: Request<GetRoleRequest>) -> Result<Response<GetRoleResponse>, Status> {
        let name = &request.get_ref().name;
        let role = self
            .0
            .read_as(&request, "get_role", |snapshot, caller| match built_in(name) {
                Some(role) => Ok(encode::built_in_role(role)),
                None => roles::get(snapshot, caller, name).map(encode::role),
            })
            .await?;
        Ok(Response::new(GetRoleResponse { role: Some(role) }))
    }

    async fn list_roles(
        &self,
        request: Request<ListRolesRequest>,
    ) -> Result<Response<ListRolesResponse>, Status> {
        let asked = request.get_ref();
        let group = group_path(&asked.group)?;
        let page = Page {
            size: asked.page_size,
            token: asked.page_token.clone(),
        };
        let first = page.token.is_empty();
        let (custom, next_page_token) = self
            .0
            .scan_as(&request, "list_roles", move |snapshot, caller| {
                roles::list(snapshot, caller, &group, &page)
            })
            .await?;
        // The built-in roles are few, and stand on the first page beside what was asked for.
        let built_in = if first { BUILT_IN } else { &[] };
        Ok(Response::new(ListRolesResponse {
            roles: built_in
                .iter()
                .map(encode::built_in_role)
                .chain(custom.into_iter().map(encode::role))
                .collect(),
            next_page_token,
        }))
    }

    async fn update_role(
        &self,
        request: Request<UpdateRoleRequest>,
    ) -> Result<Response<UpdateRoleResponse>, Status> {
        let asked = request.get_ref();
        let name = asked.name.clone();
        let description = plain_text(&asked.description)?;
        let capabilities = parse_capabilities(&asked.capabilities)?;
        let role = self
            .0
            .write_as(&request, "update_role", move |tx, caller| {
                roles::update(tx, caller, &name, description, capabilities)
            })
            .await?;
        Ok(Response::new(UpdateRoleResponse {
            role: Some(encode::role(role)),
        }))
    }

    async fn delete_role(
        &self,
        request: Request<DeleteRoleRequest>,
    ) -> Result<Response<DeleteRoleResponse>, Status> {
        let name = request.get_ref().name.clone();
        self.0
            .write_as(&request, "delete_role", move |tx, caller| {
                roles::delete(tx, caller, &name)
            })
            .await?;
        Ok(Response::new(DeleteRoleResponse {}))
    }
}
