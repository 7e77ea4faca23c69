//! `roadstead iam bindings`.

use roadstead_proto::auth::v1::{
    Binding, Condition, CreateBindingRequest, DeleteBindingRequest, GetBindingRequest, ListBindingsRequest,
    binding_service_client::BindingServiceClient,
};
use roadstead_types::Clock;
use serde_json::{Value, json};

use super::{resource_json, resource_text};
use crate::{
    args::{Bindings, BindingsCreate, Remote},
    cache::TokenCache,
    error::Error,
    grpc::{AdminApi, Channel},
    listing::{Shown, pages, print_all, print_done, print_one},
    when,
};

impl Shown for Binding {
    const COLUMNS: &'static [&'static str] = &["ID", "IDENTITY", "ROLE", "WHERE", "IF", "CREATED", "BY"];

    fn cells(&self) -> Vec<String> {
        let identity = self.identity.as_ref();
        vec![
            self.id.clone(),
            identity.map(|identity| identity.name.clone()).unwrap_or_default(),
            self.role.clone(),
            self.resource.as_ref().map(resource_text).unwrap_or_default(),
            conditions(self),
            when::of_millis(self.created_at).unwrap_or_default(),
            self.created_by.clone(),
        ]
    }

    fn json(&self) -> Value {
        let conditions = self.conditions.iter().map(|condition| {
            if condition.pattern.is_empty() {
                json!({ "claim": condition.claim, "value": condition.value })
            } else {
                json!({ "claim": condition.claim, "pattern": condition.pattern })
            }
        });
        json!({
            "id": self.id,
            "identity": self.identity.as_ref().map(super::identity_json),
            "role": self.role,
            "resource": self.resource.as_ref().map(resource_json),
            "conditions": conditions.collect::<Vec<_>>(),
            "created_at": when::of_millis(self.created_at),
            "created_by": self.created_by,
        })
    }
}

/// A binding in a sentence without its subject: `registry.push at group acme`.
pub(crate) fn summary(binding: &Binding) -> String {
    let at = binding.resource.as_ref().map(resource_text).unwrap_or_default();
    let conditions = conditions(binding);
    let suffix = if conditions.is_empty() {
        String::new()
    } else {
        format!(", if {conditions}")
    };
    format!("{} at {at}{suffix}", binding.role)
}

fn conditions(binding: &Binding) -> String {
    let conditions = binding.conditions.iter().map(|condition| {
        if condition.pattern.is_empty() {
            format!("{}={}", condition.claim, condition.value)
        } else {
            format!("{}~{}", condition.claim, condition.pattern)
        }
    });
    conditions.collect::<Vec<_>>().join(" ")
}

pub(super) async fn run(command: Bindings, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    match command {
        Bindings::Create(flags) => create(flags, cache, clock).await,
        Bindings::List {
            group,
            identity,
            listing,
        } => {
            let (api, mut client) = open(listing.asking.remote, cache, clock).await?;
            let bindings = pages(listing.limit, async |page_size, page_token| {
                let request = ListBindingsRequest {
                    group: group.clone(),
                    identity: identity.clone(),
                    page_size,
                    page_token,
                };
                let page = api.answer("ListBindings", client.list_bindings(request).await)?;
                Ok((page.bindings, page.next_page_token))
            });
            print_all(listing.asking.output, &bindings.await?)
        }
        Bindings::Show { id, asking } => {
            let (api, mut client) = open(asking.remote, cache, clock).await?;
            let answer = api.answer("GetBinding", client.get_binding(GetBindingRequest { id }).await)?;
            print_one(asking.output, &answer.binding.unwrap_or_default())
        }
        Bindings::Delete { id, asking } => {
            let (api, mut client) = open(asking.remote, cache, clock).await?;
            let done = format!("Deleted the binding {id}; the tokens that it gave are revoked.");
            let answer = client.delete_binding(DeleteBindingRequest { id }).await;
            api.answer("DeleteBinding", answer)?;
            print_done(asking.output, &done)
        }
    }
}

async fn create(flags: BindingsCreate, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    let exact = flags.require.into_iter().map(|(claim, value)| Condition {
        claim,
        value,
        pattern: String::new(),
    });
    let patterns = flags
        .require_pattern
        .into_iter()
        .map(|(claim, pattern)| Condition {
            claim,
            value: String::new(),
            pattern,
        });
    let request = CreateBindingRequest {
        identity: flags.identity,
        role: flags.role,
        resource: Some(flags.target.into()),
        conditions: exact.chain(patterns).collect(),
    };
    let (api, mut client) = open(flags.asking.remote, cache, clock).await?;
    let answer = api.answer("CreateBinding", client.create_binding(request).await)?;
    print_one(flags.asking.output, &answer.binding.unwrap_or_default())
}

async fn open(
    remote: Remote,
    cache: &TokenCache,
    clock: &Clock,
) -> Result<(AdminApi, BindingServiceClient<Channel>), Error> {
    let api = AdminApi::open(remote, cache, clock).await?;
    let client = BindingServiceClient::with_origin(api.channel(), api.origin());
    Ok((api, client))
}
