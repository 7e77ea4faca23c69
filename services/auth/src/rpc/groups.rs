use roadstead_proto::auth::v1::{
    CreateGroupRequest, CreateGroupResponse, DeleteGroupRequest, DeleteGroupResponse, GetGroupRequest,
    GetGroupResponse, ListGroupsRequest, ListGroupsResponse, ListPushPoliciesRequest,
    ListPushPoliciesResponse, PushPolicy, SetPushPolicyRequest, SetPushPolicyResponse, UpdateGroupRequest,
    UpdateGroupResponse, group_service_server::GroupService,
};
use tonic::{Request, Response, Status};

use super::{Service, encode};
use crate::{
    error::Error,
    iam::{Page, group_path, groups, new_group_path, plain_text, policies},
};

#[tonic::async_trait]
impl GroupService for Service {
    async fn create_group(
        &self,
        request: Request<CreateGroupRequest>,
    ) -> Result<Response<CreateGroupResponse>, Status> {
        let asked = request.get_ref();
        let path = new_group_path(&asked.path)?;
        let display_name = plain_text(&asked.display_name)?;
        let restore = asked.restore;
        let group = self
            .0
            .write_as(&request, "create_group", move |tx, caller| {
                groups::create(tx, caller, &path, &display_name, restore)
            })
            .await?;
        Ok(Response::new(CreateGroupResponse {
            group: Some(encode::group(group)),
        }))
    }

    async fn get_group(
        &self,
        request: Request<GetGroupRequest>,
    ) -> Result<Response<GetGroupResponse>, Status> {
        let path = group_path(&request.get_ref().path)?;
        let group = self
            .0
            .read_as(&request, "get_group", |snapshot, caller| {
                groups::get(snapshot, caller, &path)
            })
            .await?;
        Ok(Response::new(GetGroupResponse {
            group: Some(encode::group(group)),
        }))
    }

    async fn list_groups(
        &self,
        request: Request<ListGroupsRequest>,
    ) -> Result<Response<ListGroupsResponse>, Status> {
        let asked = request.get_ref();
        let path = group_path(&asked.path)?;
        let page = Page {
            size: asked.page_size,
            token: asked.page_token.clone(),
        };
        let (groups, next_page_token) = self
            .0
            .scan_as(&request, "list_groups", move |snapshot, caller| {
                groups::list(snapshot, caller, &path, &page)
            })
            .await?;
        Ok(Response::new(ListGroupsResponse {
            groups: groups.into_iter().map(encode::group).collect(),
            next_page_token,
        }))
    }

    async fn update_group(
        &self,
        request: Request<UpdateGroupRequest>,
    ) -> Result<Response<UpdateGroupResponse>, Status> {
        let asked = request.get_ref();
        let path = group_path(&asked.path)?;
        let display_name = plain_text(&asked.display_name)?;
        let group = self
            .0
            .write_as(&request, "update_group", move |tx, caller| {
                groups::update(tx, caller, &path, &display_name)
            })
            .await?;
        Ok(Response::new(UpdateGroupResponse {
            group: Some(encode::group(group)),
        }))
    }

    async fn delete_group(
        &self,
        request: Request<DeleteGroupRequest>,
    ) -> Result<Response<DeleteGroupResponse>, Status> {
        let path = new_group_path(&request.get_ref().path)?;
        self.0
            .write_as(&request, "delete_group", move |tx, caller| {
                groups::delete(tx, caller, &path)
            })
            .await?;
        Ok(Response::new(DeleteGroupResponse {}))
    }

    async fn set_push_policy(
        &self,
        request: Request<SetPushPolicyRequest>,
    ) -> Result<Response<SetPushPolicyResponse>, Status> {
        let asked = request.get_ref();
        let resource = encode::parse_resource(asked.resource.as_ref())?;
        let policy =
            PushPolicy::try_from(asked.policy).map_err(|_| Error::argument("the push policy is unknown"))?;
        self.0
            .write_as(&request, "set_push_policy", move |tx, caller| {
                policies::set(tx, caller, &resource, policy == PushPolicy::WorkloadOnly)
            })
            .await?;
        Ok(Response::new(SetPushPolicyResponse {}))
    }

    async fn list_push_policies(
        &self,
        request: Request<ListPushPoliciesRequest>,
    ) -> Result<Response<ListPushPoliciesResponse>, Status> {
        let asked = request.get_ref();
        let path = group_path(&asked.path)?;
        let page = Page {
            size: asked.page_size,
            token: asked.page_token.clone(),
        };
        let (marks, next_page_token) = self
            .0
            .scan_as(&request, "list_push_policies", move |snapshot, caller| {
                policies::list(snapshot, caller, &path, &page)
            })
            .await?;
        Ok(Response::new(ListPushPoliciesResponse {
            policies: marks.iter().map(encode::policy).collect(),
            next_page_token,
        }))
    }
}
