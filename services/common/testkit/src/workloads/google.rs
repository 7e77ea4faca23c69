//! Google Cloud.

use serde_json::json;

use super::{AudienceForm, Workload, number};

/// A virtual machine that asks its metadata server for an identity token in full.
#[derive(Clone, Debug)]
pub struct ComputeInstance {
    project: String,
    account: String,
}

impl ComputeInstance {
    /// The issuer of all accounts, human ones included.
    pub const ISSUER: &'static str = "https://accounts.google.com";

    /// An instance of a project that runs as the service account of the given name.
    pub fn of(project: &str, account: &str) -> Self {
        Self {
            project: project.to_owned(),
            account: account.to_owned(),
        }
    }

    /// What the platform says of the instance. The subject is a number that says nothing; the address tells who it is.
    pub fn workload(&self) -> Workload {
        let email = format!("{}@{}.iam.gserviceaccount.com", self.account, self.project);
        let subject = format!("1{:020}", number(&email));
        let claims = json!({
            "sub": subject,
            "azp": subject,
            "email": email,
            "email_verified": true,
            "google": {
                "compute_engine": {
                    "project_id": self.project,
                    "project_number": number(&self.project),
                    "zone": "europe-west1-b",
                    "instance_id": number(&self.account).to_string(),
                    "instance_name": format!("{}-1", self.account),
                    "instance_creation_timestamp": 1_789_000_000,
                    "instance_confidentiality": 0,
                    "license_id": ["1000204"],
                },
            },
        });
        Workload {
            issuer: Self::ISSUER.to_owned(),
            claims,
            audience: AudienceForm::Text,
            typed: true,
            numbered: false,
            good_before: None,
            lives: 3600,
        }
    }
}
