//! Buildkite.

use serde_json::{Value, json};

use super::{AudienceForm, Workload, commit, uuid};

/// A Buildkite job that asks its agent for a token.
#[derive(Clone, Debug)]
pub struct BuildkiteJob {
    organization: String,
    pipeline: String,
    branch: String,
    step: Option<String>,
}

impl BuildkiteJob {
    /// The issuer of all organizations.
    pub const ISSUER: &'static str = "https://agent.buildkite.com";

    /// A build of a branch, in a step without a key.
    pub fn on_branch(organization: &str, pipeline: &str, branch: &str) -> Self {
        Self {
            organization: organization.to_owned(),
            pipeline: pipeline.to_owned(),
            branch: branch.to_owned(),
            step: None,
        }
    }

    /// A step with a key.
    #[must_use]
    pub fn step(mut self, key: &str) -> Self {
        self.step = Some(key.to_owned());
        self
    }

    /// What the platform says of the job. A build that is of no tag has a `build_tag` that is null.
    pub fn workload(&self) -> Workload {
        let Self {
            organization,
            pipeline,
            branch,
            step,
        } = self;
        let commit = commit(branch);
        let subject = format!(
            "organization:{organization}:pipeline:{pipeline}:ref:refs/heads/{branch}:commit:{commit}:step:{}",
            step.as_deref().unwrap_or_default()
        );
        let claims = json!({
            "sub": subject,
            "organization_slug": organization,
            "organization_id": uuid(organization),
            "pipeline_slug": pipeline,
            "pipeline_id": uuid(pipeline),
            "build_number": 5,
            "build_branch": branch,
            "build_tag": Value::Null,
            "build_commit": commit,
            "step_key": step,
            "job_id": uuid(&format!("{pipeline} job")),
            "agent_id": uuid(&format!("{pipeline} agent")),
            "build_source": "webhook",
            "runner_environment": "buildkite-hosted",
        });
        Workload {
            issuer: Self::ISSUER.to_owned(),
            claims,
            audience: AudienceForm::Text,
            typed: false,
            numbered: true,
            good_before: Some(0),
            lives: 300,
        }
    }
}
