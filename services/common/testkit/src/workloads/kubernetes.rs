//! Kubernetes.

use serde_json::json;

use super::{AudienceForm, Workload, uuid};

/// A pod with a projected service-account token, which is also what a kubelet hands to a credential provider.
#[derive(Clone, Debug)]
pub struct KubernetesPod {
    namespace: String,
    account: String,
}

impl KubernetesPod {
    /// The issuer of a cluster that was not told another.
    pub const ISSUER: &'static str = "https://kubernetes.default.svc.cluster.local";

    /// A pod that runs as a service account.
    pub fn of(namespace: &str, account: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            account: account.to_owned(),
        }
    }

    /// What the cluster says of the pod: nearly everything in one claim that is an object.
    pub fn workload(&self) -> Workload {
        let Self { namespace, account } = self;
        let named =
            |kind: &str, name: String| json!({ "name": name, "uid": uuid(&format!("{kind} {name}")) });
        let claims = json!({
            "sub": format!("system:serviceaccount:{namespace}:{account}"),
            "kubernetes.io": {
                "namespace": namespace,
                "node": named("node", "worker-1".to_owned()),
                "pod": named("pod", format!("{account}-5d4f8c7b6d-x2x7q")),
                "serviceaccount": named(namespace, account.clone()),
            },
        });
        Workload {
            issuer: Self::ISSUER.to_owned(),
            claims,
            audience: AudienceForm::List,
            typed: false,
            numbered: true,
            good_before: Some(0),
            lives: 3600,
        }
    }
}
