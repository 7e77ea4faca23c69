//! Machines that log in by what they are: our program in a build job and under a kubelet.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use roadstead_integration_tests::image::Image;
use roadstead_integration_tests::process::run;
use roadstead_integration_tests::{Credential, Mode, in_both_modes, programs};
use roadstead_proto::auth::v1::ClaimMatch;
use roadstead_testkit::{GitHubJob, KubernetesPod, Workload};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::administration::group;
use crate::organisation::{Organisation, exactly};

in_both_modes!(
    a_build_job_needs_no_more_than_its_platform,
    a_kubelet_gets_what_a_pod_may_pull,
);

const REPOSITORY: &str = "acme/web";
const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// Lets a workload push, with tokens that are for this registry by its name, as our program asks for them.
async fn let_push(organisation: &Organisation, name: &str, workload: &Workload) -> Result<()> {
    let rule = ClaimMatch {
        audience: organisation.cluster.address(),
        ..exactly(workload)
    };
    let identity = organisation.root.create_claim_match("acme", name, rule).await?;
    organisation
        .root
        .bind(&identity.id, "registry.push", group("acme"), &[])
        .await?;
    Ok(())
}

/// What a runner gives its job: where to ask for tokens, and the secret to ask with.
struct Runner {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Runner {
    /// Starts a runner that answers every question with the same token.
    async fn start(token: String) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let answer = json!({ "value": token }).to_string();
        #[expect(clippy::disallowed_methods, reason = "lives as long as the test's runtime")]
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = vec![0; 16 * 1024];
                let length = stream.read(&mut head).await.unwrap_or_default();
                let head = String::from_utf8_lossy(&head[..length]).into_owned();
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(head);
                let reply = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
                    answer.len()
                );
                // A client that has gone is its own test's affair.
                let _gone = stream.write_all(reply.as_bytes()).await;
            }
        });
        Ok(Self { address, asked })
    }

    fn environment(&self) -> Vec<(String, String)> {
        [
            ("GITHUB_ACTIONS", "true".to_owned()),
            (
                "ACTIONS_ID_TOKEN_REQUEST_URL",
                format!("http://{}/token?api-version=2.0", self.address),
            ),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "the-runners-secret".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn a_build_job_needs_no_more_than_its_platform(mode: Mode) -> Result<()> {
    let organisation = Organisation::start(mode).await?;
    organisation.root.create_group("acme").await?;
    let job = GitHubJob::on_branch(REPOSITORY, "main")
        .immutable_subject()
        .workload();
    let_push(&organisation, "ci", &job).await?;
    let cluster = &organisation.cluster;
    let address = cluster.address();
    let platforms = &organisation.issuers.platforms;

    let runner = Runner::start(platforms.issue_workload(&job, &address)).await?;
    cluster
        .cli_with(&["login", &address], &runner.environment())
        .await?;
    let asked = runner.asked();
    let first = asked.first().context("nobody asked the runner")?;
    let audience = address.replace(':', "%3A");
    ensure!(first.contains(&format!("audience={audience}")), "{first}");
    ensure!(
        first
            .to_lowercase()
            .contains("authorization: bearer the-runners-secret")
    );

    let token = cluster.cli(&["auth", "token", &address]).await?;
    let caller = cluster
        .anonymous()?
        .with(Credential::Token(token.trim().to_owned()))?;
    let session = caller.session_for(&[REPOSITORY]).await?;
    session
        .push_image(REPOSITORY, "latest", &Image::small("by a job")?)
        .await?;

    // A runner that gives what was made for somebody else is not of use, and not to be told to anybody.
    let wrong = Runner::start(platforms.issue_workload(&job, "sts.amazonaws.com")).await?;
    let refused = cluster.cli_with(&["login", &address], &wrong.environment()).await;
    ensure!(refused.is_err(), "logged in with a token for another");
    organisation.stop().await
}

async fn a_kubelet_gets_what_a_pod_may_pull(mode: Mode) -> Result<()> {
    let pod = KubernetesPod::of("production", "web").workload();
    let organisation = Organisation::start_with(mode, &[&pod], |setup| setup).await?;
    organisation.root.create_group("acme").await?;
    let_push(&organisation, "web", &pod).await?;
    let root = organisation
        .person(crate::organisation::FIRST_OWNER)
        .await?
        .session_for(&[REPOSITORY])
        .await?;
    root.push_image(REPOSITORY, "v1", &Image::small("for a pod")?)
        .await?;

    let cluster = &organisation.cluster;
    let address = cluster.address();
    let request = json!({
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "kind": "CredentialProviderRequest",
        "image": format!("{address}/{REPOSITORY}:v1"),
        "serviceAccountToken": organisation.issuers.platforms.issue_workload(&pod, &address),
        "serviceAccountAnnotations": {},
    });
    let printed = run(
        &programs::ours("roadstead")?,
        ["kubelet-credential-provider"],
        &cluster.home().environment(),
        Some(request.to_string().as_bytes()),
        COMMAND_LIMIT,
    )
    .await?;
    let answer: Value = serde_json::from_str(&printed)?;
    let password = answer["auth"][&address]["password"].as_str();
    let password = password.with_context(|| format!("no credentials for {address}: {answer}"))?;
    let node = cluster
        .anonymous()?
        .with(Credential::Token(password.to_owned()))?;
    let session = node.session_for(&[REPOSITORY]).await?;
    session.pull_everything(REPOSITORY, "v1").await?;
    // The pod's identity may push, but what is given to a node may not.
    session
        .request(reqwest::Method::POST, &format!("/v2/{REPOSITORY}/blobs/uploads/"))
        .send()
        .await?
        .expect_error(403, "DENIED")?;
    organisation.stop().await
}
