//! GitLab CI/CD.

use serde_json::json;

use super::{AudienceForm, Workload, commit, number};

/// A GitLab CI/CD job with `id_tokens`.
#[derive(Clone, Debug)]
pub struct GitLabJob {
    project: String,
    branch: String,
    environment: Option<String>,
}

impl GitLabJob {
    /// The issuer of gitlab.com; an installation of one's own is its own issuer.
    pub const ISSUER: &'static str = "https://gitlab.com";

    /// A push to a branch of the project with the given full path.
    pub fn on_branch(project: &str, branch: &str) -> Self {
        Self {
            project: project.to_owned(),
            branch: branch.to_owned(),
            environment: None,
        }
    }

    /// A job that deploys to an environment.
    #[must_use]
    pub fn environment(mut self, name: &str) -> Self {
        self.environment = Some(name.to_owned());
        self
    }

    /// What the platform says of the job.
    pub fn workload(&self) -> Workload {
        let Self { project, branch, .. } = self;
        let namespace = project
            .rsplit_once('/')
            .map_or(&**project, |(namespace, _)| namespace);
        let commit = commit(branch);
        let mut claims = json!({
            "sub": format!("project_path:{project}:ref_type:branch:ref:{branch}"),
            "namespace_id": number(namespace).to_string(),
            "namespace_path": namespace,
            "project_id": number(project).to_string(),
            "project_path": project,
            "project_visibility": "private",
            "job_namespace_id": number(namespace).to_string(),
            "job_namespace_path": namespace,
            "job_project_id": number(project).to_string(),
            "job_project_path": project,
            "user_id": number("sam").to_string(),
            "user_login": "sam",
            "user_email": "sam@acme.example",
            "user_access_level": "maintainer",
            "user_identities": [{ "provider": "saml", "extern_uid": "sam@acme.example" }],
            "groups_direct": [namespace],
            "pipeline_id": number(&commit).to_string(),
            "pipeline_source": "push",
            "job_id": number(project).to_string(),
            "ref": branch,
            "ref_type": "branch",
            "ref_path": format!("refs/heads/{branch}"),
            "ref_protected": "true",
            "runner_id": 12_270_835,
            "runner_environment": "gitlab-hosted",
            "sha": commit,
            "ci_config_ref_uri": format!("gitlab.com/{project}//.gitlab-ci.yml@refs/heads/{branch}"),
            "ci_config_sha": commit,
        });
        if let Some(environment) = &self.environment {
            claims["environment"] = json!(environment);
            claims["environment_protected"] = json!("true");
            claims["deployment_tier"] = json!("production");
            claims["environment_action"] = json!("start");
        }
        Workload {
            issuer: Self::ISSUER.to_owned(),
            claims,
            audience: AudienceForm::Text,
            typed: true,
            numbered: true,
            good_before: Some(5),
            lives: 3600,
        }
    }
}
