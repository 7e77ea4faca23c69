//! What the calls are about: a group with everything in it, and as many things to delete as there are calls that do.

use anyhow::Result;
use roadstead_integration_tests::image::{Image, noise, sha256};
use roadstead_integration_tests::{Mode, Session};
use roadstead_proto::auth::v1::{CreateRoleRequest, create_identity_request};

use super::callers::{CALLERS, subject};
use crate::administration::group;
use crate::organisation::{Organisation, exactly};
use roadstead_testkit::GitHubJob;

pub(crate) const GROUP: &str = "acme";
pub(crate) const REPOSITORY: &str = "acme/web";

/// Calls that may use something up: by every caller through the gateway, at the service, and over HTTP.
pub(crate) const TURNS: usize = 3 * CALLERS.len();

/// Ids of what is there, one for each turn where a turn may use it up.
pub(crate) struct Stage {
    pub(crate) organisation: Organisation,
    pub(crate) identity: String,
    pub(crate) binding: String,
    pub(crate) identities: Vec<String>,
    pub(crate) bindings: Vec<String>,
    pub(crate) pull_tokens: Vec<String>,
    pub(crate) image: Image,
    /// Blobs that no manifest needs.
    pub(crate) blobs: Vec<String>,
    /// Manifests under tags `turn-<n>`.
    pub(crate) manifests: Vec<String>,
}

impl Stage {
    pub(crate) async fn set(mode: Mode) -> Result<Self> {
        let organisation = Organisation::start(mode).await?;
        let root = &organisation.root;
        root.create_group(GROUP).await?;
        root.create_group("other").await?;
        for (caller, role, path) in [
            ("other group", "owner", "other"),
            ("viewer", "viewer", GROUP),
            ("puller", "registry.pull", GROUP),
            ("pusher", "registry.push", GROUP),
            ("owner", "owner", GROUP),
        ] {
            organisation.employ(&subject(caller), role, group(path)).await?;
        }
        let rule = |branch: &str| exactly(&GitHubJob::on_branch(REPOSITORY, branch).workload());
        let identity = root.create_claim_match(GROUP, "ci", rule("main")).await?.id;
        let binding = root.bind(&identity, "registry.push", group(GROUP), &[]).await?.id;
        let mut stage = Self {
            organisation,
            identity,
            binding,
            identities: Vec::new(),
            bindings: Vec::new(),
            pull_tokens: Vec::new(),
            image: Image::small("stage")?,
            blobs: Vec::new(),
            manifests: Vec::new(),
        };
        stage.fill_iam().await?;
        stage.fill_repository().await?;
        Ok(stage)
    }

    async fn fill_iam(&mut self) -> Result<()> {
        let root = self.organisation.root.clone();
        create_role(&root, "deployer").await?;
        for turn in 0..TURNS {
            root.create_group(&format!("{GROUP}/gone-{turn}")).await?;
            create_role(&root, &format!("role-{turn}")).await?;
            let job = GitHubJob::on_branch(REPOSITORY, &format!("gone-{turn}")).workload();
            let rule = create_identity_request::Rule::ClaimMatch(exactly(&job));
            let identity = root
                .create_identity(GROUP, &format!("identity-{turn}"), rule)
                .await?;
            self.identities.push(identity.id);
            let path = format!("{GROUP}/bound-{turn}");
            let binding = root
                .bind(&self.identity, "registry.pull", group(&path), &[])
                .await?;
            self.bindings.push(binding.id);
            let token = root
                .create_pull_token(&format!("token-{turn}"), vec![group(GROUP)])
                .await?;
            self.pull_tokens.push(token.pull_token.unwrap_or_default().id);
        }
        Ok(())
    }

    async fn fill_repository(&mut self) -> Result<()> {
        let session = self.session().await?;
        session.push_image(REPOSITORY, "latest", &self.image).await?;
        for turn in 0..TURNS {
            let image = Image::small(&format!("turn {turn}"))?;
            let digest = session
                .push_image(REPOSITORY, &format!("turn-{turn}"), &image)
                .await?;
            self.manifests.push(digest.to_string());
            let blob = noise(u64::try_from(turn)?, 100);
            session.push_blob(REPOSITORY, &blob).await?;
            self.blobs.push(sha256(&blob).to_string());
        }
        Ok(())
    }

    /// The first owner at the repository.
    async fn session(&self) -> Result<Session> {
        let root = self.organisation.person(crate::organisation::FIRST_OWNER).await?;
        root.session_for(&[REPOSITORY]).await
    }
}

async fn create_role(root: &crate::administration::Administration, name: &str) -> Result<()> {
    let request = CreateRoleRequest {
        group: GROUP.to_owned(),
        name: name.to_owned(),
        description: String::new(),
        capabilities: vec!["repo.pull".to_owned()],
    };
    root.roles().create_role(request).await?;
    Ok(())
}
