//! GitHub Actions.

use serde_json::{Value, json};

use super::{AudienceForm, Workload, commit, number};

/// A job of a GitHub Actions workflow with `id-token: write`.
#[derive(Clone, Debug)]
pub struct GitHubJob {
    repository: String,
    workflow: String,
    run: Run,
    environment: Option<String>,
    immutable_subject: bool,
}

/// What the workflow runs for.
#[derive(Clone, Debug)]
enum Run {
    Branch(String),
    Tag(String),
    PullRequest { number: u32, head: String },
}

impl GitHubJob {
    /// The issuer of all repositories on github.com.
    pub const ISSUER: &'static str = "https://token.actions.githubusercontent.com";

    /// A push to a branch of `owner/name`.
    pub fn on_branch(repository: &str, branch: &str) -> Self {
        Self::new(repository, Run::Branch(branch.to_owned()))
    }

    /// A push of a tag.
    pub fn on_tag(repository: &str, tag: &str) -> Self {
        Self::new(repository, Run::Tag(tag.to_owned()))
    }

    /// A pull request into `repository`, from a branch of it or of a fork: the token does not tell which, and is the
    /// target's. A workflow that runs in the fork itself is an ordinary one of another repository.
    pub fn on_pull_request(repository: &str, number: u32, head: &str) -> Self {
        let head = head.to_owned();
        Self::new(repository, Run::PullRequest { number, head })
    }

    fn new(repository: &str, run: Run) -> Self {
        Self {
            repository: repository.to_owned(),
            workflow: "release.yml".to_owned(),
            run,
            environment: None,
            immutable_subject: false,
        }
    }

    /// Another workflow than `release.yml`, as the name of its file.
    #[must_use]
    pub fn workflow(mut self, file: &str) -> Self {
        file.clone_into(&mut self.workflow);
        self
    }

    /// A job that names an environment, which then stands in the subject instead of the ref.
    #[must_use]
    pub fn environment(mut self, name: &str) -> Self {
        self.environment = Some(name.to_owned());
        self
    }

    /// A repository whose subjects hold ids beside the names, as those made since July 2026 do.
    #[must_use]
    pub fn immutable_subject(mut self) -> Self {
        self.immutable_subject = true;
        self
    }

    /// The workflow's `job_workflow_ref` and `workflow_ref`: file and ref.
    pub fn workflow_ref(&self) -> String {
        format!(
            "{}/.github/workflows/{}@{}",
            self.repository,
            self.workflow,
            self.git_ref()
        )
    }

    /// What the platform says of the job.
    pub fn workload(&self) -> Workload {
        let mut claims = self.identity();
        let more = self.run_claims();
        for (name, value) in more.as_object().expect("claims are an object") {
            claims[name] = value.clone();
        }
        if let Some(environment) = &self.environment {
            claims["environment"] = json!(environment);
            claims["environment_node_id"] = json!(format!("EN_{:x}", number(environment)));
        }
        Workload {
            issuer: Self::ISSUER.to_owned(),
            claims,
            audience: AudienceForm::Text,
            typed: true,
            numbered: true,
            good_before: Some(600),
            lives: 300,
        }
    }

    fn owner(&self) -> &str {
        self.repository
            .split_once('/')
            .map_or(&*self.repository, |(owner, _)| owner)
    }

    fn git_ref(&self) -> String {
        match &self.run {
            Run::Branch(name) => format!("refs/heads/{name}"),
            Run::Tag(name) => format!("refs/tags/{name}"),
            Run::PullRequest { number, .. } => format!("refs/pull/{number}/merge"),
        }
    }

    fn subject(&self) -> String {
        let repository = match (self.immutable_subject, self.repository.split_once('/')) {
            (true, Some((owner, name))) => {
                format!("{owner}@{}/{name}@{}", number(owner), number(&self.repository))
            }
            _ => self.repository.clone(),
        };
        let context = match (&self.environment, &self.run) {
            (Some(environment), _) => format!("environment:{environment}"),
            (None, Run::PullRequest { .. }) => "pull_request".to_owned(),
            (None, _) => format!("ref:{}", self.git_ref()),
        };
        format!("repo:{repository}:{context}")
    }

    /// Who runs: repository, owner and actor.
    fn identity(&self) -> Value {
        json!({
            "sub": self.subject(),
            "repository": self.repository,
            "repository_id": number(&self.repository).to_string(),
            "repository_owner": self.owner(),
            "repository_owner_id": number(self.owner()).to_string(),
            "repository_visibility": "private",
            "actor": "octocat",
            "actor_id": number("octocat").to_string(),
            "runner_environment": "github-hosted",
        })
    }

    /// What runs, and for what.
    fn run_claims(&self) -> Value {
        let (kind, event, head, base, protected) = match &self.run {
            Run::Branch(_) => ("branch", "push", "", "", "true"),
            Run::Tag(_) => ("tag", "push", "", "", "false"),
            Run::PullRequest { head, .. } => ("branch", "pull_request", head.as_str(), "main", "false"),
        };
        let commit = commit(&self.git_ref());
        json!({
            "ref": self.git_ref(),
            "ref_type": kind,
            "ref_protected": protected,
            "sha": commit,
            "head_ref": head,
            "base_ref": base,
            "event_name": event,
            "workflow": "release",
            "workflow_ref": self.workflow_ref(),
            "workflow_sha": commit,
            "job_workflow_ref": self.workflow_ref(),
            "job_workflow_sha": commit,
            "run_id": number(&commit).to_string(),
            "run_number": "10",
            "run_attempt": "1",
            "check_run_id": number(&self.workflow).to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(job: &GitHubJob) -> String {
        job.workload().subject().to_owned()
    }

    #[test]
    fn subjects_are_as_documented() {
        let main = GitHubJob::on_branch("acme/images", "main");
        assert_eq!(subject(&main), "repo:acme/images:ref:refs/heads/main");
        assert_eq!(
            subject(&GitHubJob::on_tag("acme/images", "v1")),
            "repo:acme/images:ref:refs/tags/v1"
        );
        assert_eq!(
            subject(&GitHubJob::on_pull_request("acme/images", 7, "feature")),
            "repo:acme/images:pull_request"
        );
        assert_eq!(
            subject(&main.clone().environment("production")),
            "repo:acme/images:environment:production"
        );
    }

    #[test]
    fn an_immutable_subject_holds_the_ids_of_the_other_claims() {
        let workload = GitHubJob::on_branch("acme/images", "main")
            .immutable_subject()
            .workload();
        let id = |name: &str| workload.claim(name).as_str().unwrap().to_owned();
        assert_eq!(
            workload.subject(),
            format!(
                "repo:acme@{}/images@{}:ref:refs/heads/main",
                id("repository_owner_id"),
                id("repository_id")
            )
        );
    }

    #[test]
    fn a_workflow_is_known_by_file_and_ref() {
        let job = GitHubJob::on_branch("acme/images", "main").workflow("test.yml");
        assert_eq!(
            job.workload().claim("job_workflow_ref"),
            "acme/images/.github/workflows/test.yml@refs/heads/main"
        );
    }
}
