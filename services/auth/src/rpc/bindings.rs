use roadstead_proto::auth::v1::{
    CreateBindingRequest, CreateBindingResponse, DeleteBindingRequest, DeleteBindingResponse,
    GetBindingRequest, GetBindingResponse, ListBindingsRequest, ListBindingsResponse,
    binding_service_server::BindingService,
};
use tonic::{Request, Response, Status};

use super::{Service, encode};
use crate::iam::{Page, bindings, group_path, rule};

#[tonic::async_trait]
impl BindingService for Service {
    async fn create_binding(
        &self,
        request: Request<CreateBindingRequest>,
    ) -> Result<Response<CreateBindingResponse>, Status> {
        let asked = request.get_ref();
        let (identity, role) = (asked.identity.clone(), asked.role.clone());
        let resource = encode::parse_resource(asked.resource.as_ref())?;
        let conditions = rule::conditions(&asked.conditions)?;
        let binding = self
            .0
            .write_as(&request, "create_binding", move |tx, caller| {
                let created = bindings::create(tx, caller, &identity, &role, resource, conditions)?;
                encode::binding(tx, &created)
            })
            .await?;
        Ok(Response::new(CreateBindingResponse {
            binding: Some(binding),
        }))
    }

    async fn get_binding(
        &self,
        request: Request<GetBindingRequest>,
    ) -> Result<Response<GetBindingResponse>, Status> {
        let id = &request.get_ref().id;
        let binding = self
            .0
            .read_as(&request, "get_binding", |snapshot, caller| {
                encode::binding(snapshot, &bindings::get(snapshot, caller, id)?)
            })
            .await?;
        Ok(Response::new(GetBindingResponse {
            binding: Some(binding),
        }))
    }

    async fn list_bindings(
        &self,
        request: Request<ListBindingsRequest>,
    ) -> Result<Response<ListBindingsResponse>, Status> {
        let asked = request.get_ref();
        let group = group_path(&asked.group)?;
        let identity = asked.identity.clone();
        let page = Page {
            size: asked.page_size,
            token: asked.page_token.clone(),
        };
        let (bindings, next_page_token) = self
            .0
            .scan_as(&request, "list_bindings", move |snapshot, caller| {
                let (found, next) = bindings::list(snapshot, caller, &group, &identity, &page)?;
                let encoded = found.iter().map(|binding| encode::binding(snapshot, binding));
                Ok((encoded.collect::<crate::store::Result<Vec<_>>>()?, next))
            })
            .await?;
        Ok(Response::new(ListBindingsResponse {
            bindings,
            next_page_token,
        }))
    }

    async fn delete_binding(
        &self,
        request: Request<DeleteBindingRequest>,
    ) -> Result<Response<DeleteBindingResponse>, Status> {
        let id = request.get_ref().id.clone();
        self.0
            .write_as(&request, "delete_binding", move |tx, caller| {
                bindings::delete(tx, caller, &id)
            })
            .await?;
        Ok(Response::new(DeleteBindingResponse {}))
    }
}
