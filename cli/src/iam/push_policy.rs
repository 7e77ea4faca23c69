//! `roadstead iam push-policy`.

use roadstead_proto::auth::v1::{
    ListPushPoliciesRequest, PushPolicy, Resource, ResourcePolicy, SetPushPolicyRequest,
    group_service_client::GroupServiceClient,
};
use roadstead_types::Clock;
use serde_json::{Value, json};

use super::resource_text;
use crate::{
    args::{Asking, PushPolicies},
    cache::TokenCache,
    error::Error,
    grpc::AdminApi,
    listing::{Shown, pages, print_all, print_done},
    when,
};

impl Shown for ResourcePolicy {
    const COLUMNS: &'static [&'static str] = &["WHERE", "PUSH", "SET", "BY"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.resource.as_ref().map(resource_text).unwrap_or_default(),
            policy_text(self.policy()).to_owned(),
            when::of_millis(self.set_at).unwrap_or_default(),
            self.set_by.clone(),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "resource": self.resource.as_ref().map(super::resource_json),
            "push": policy_text(self.policy()),
            "set_at": when::of_millis(self.set_at),
            "set_by": self.set_by,
        })
    }
}

fn policy_text(policy: PushPolicy) -> &'static str {
    match policy {
        PushPolicy::WorkloadOnly => "workload-only",
        PushPolicy::Unspecified => "by bindings",
    }
}

pub(super) async fn run(command: PushPolicies, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    match command {
        PushPolicies::Set { target, asking } => {
            let resource = Resource::from(target);
            let done = format!("Only workloads push to {} now.", resource_text(&resource));
            set(resource, PushPolicy::WorkloadOnly, &done, asking, cache, clock).await
        }
        PushPolicies::Lift { target, asking } => {
            let resource = Resource::from(target);
            let done = format!(
                "Whoever a binding lets push to {} may do so again, unless a group above says otherwise.",
                resource_text(&resource)
            );
            set(resource, PushPolicy::Unspecified, &done, asking, cache, clock).await
        }
        PushPolicies::List { path, listing } => {
            let api = AdminApi::open(listing.asking.remote, cache, clock).await?;
            let mut client = GroupServiceClient::with_origin(api.channel(), api.origin());
            let policies = pages(listing.limit, async |page_size, page_token| {
                let request = ListPushPoliciesRequest {
                    path: path.clone(),
                    page_size,
                    page_token,
                };
                let page = api.answer("ListPushPolicies", client.list_push_policies(request).await)?;
                Ok((page.policies, page.next_page_token))
            });
            print_all(listing.asking.output, &policies.await?)
        }
    }
}

async fn set(
    resource: Resource,
    policy: PushPolicy,
    done: &str,
    asking: Asking,
    cache: &TokenCache,
    clock: &Clock,
) -> Result<(), Error> {
    let api = AdminApi::open(asking.remote, cache, clock).await?;
    let mut client = GroupServiceClient::with_origin(api.channel(), api.origin());
    let request = SetPushPolicyRequest {
        resource: Some(resource),
        policy: policy.into(),
    };
    api.answer("SetPushPolicy", client.set_push_policy(request).await)?;
    print_done(asking.output, done)
}
