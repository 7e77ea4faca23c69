//! `CircleCI`.

use serde_json::json;

use super::{AudienceForm, Workload, uuid};

/// A `CircleCI` job; the token is that of `CIRCLE_OIDC_TOKEN_V2`.
#[derive(Clone, Debug)]
pub struct CircleCiJob {
    organization: String,
    project: String,
    branch: String,
}

impl CircleCiJob {
    /// A push to a branch. Organization and project are known by ids, which follow from the names given here.
    pub fn on_branch(organization: &str, project: &str, branch: &str) -> Self {
        Self {
            organization: organization.to_owned(),
            project: project.to_owned(),
            branch: branch.to_owned(),
        }
    }

    /// What the platform says of the job. Each organization has an issuer of its own.
    pub fn workload(&self) -> Workload {
        let organization = uuid(&self.organization);
        let project = uuid(&format!("{}/{}", self.organization, self.project));
        let user = uuid("user");
        let origin = format!("github.com/{}/{}", self.organization, self.project);
        let reference = format!("refs/heads/{}", self.branch);
        let claims = json!({
            "sub": format!(
                "org/{organization}/project/{project}/user/{user}/vcs-origin/{origin}/vcs-ref/{reference}"
            ),
            "oidc.circleci.com/org-id": organization,
            "oidc.circleci.com/project-id": project,
            "oidc.circleci.com/context-ids": [uuid("release context"), uuid("another context")],
            "oidc.circleci.com/job-id": uuid("job"),
            "oidc.circleci.com/pipeline-id": uuid("pipeline"),
            "oidc.circleci.com/pipeline-definition-id": uuid("pipeline definition"),
            "oidc.circleci.com/workflow-id": uuid("workflow"),
            "oidc.circleci.com/ssh-rerun": false,
            "oidc.circleci.com/vcs-origin": origin,
            "oidc.circleci.com/vcs-ref": reference,
        });
        Workload {
            issuer: format!("https://oidc.circleci.com/org/{organization}"),
            claims,
            audience: AudienceForm::Text,
            typed: true,
            numbered: false,
            good_before: None,
            lives: 3600,
        }
    }
}
