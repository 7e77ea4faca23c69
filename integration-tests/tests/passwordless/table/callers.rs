//! The kinds of caller.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use roadstead_integration_tests::{Credential, Registry, Session};
use serde_json::{Value, json};

use super::stage::{REPOSITORY, Stage};
use crate::forge::{Forge, Kind};
use crate::organisation::LOGIN_CLIENT;

/// The columns of the table.
pub(crate) const CALLERS: [&str; 8] = [
    "anonymous",
    "wrong audience",
    "expired",
    "other group",
    "viewer",
    "puller",
    "pusher",
    "owner",
];

/// A caller with each kind of token; nobody has none.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) name: &'static str,
    /// What its issuer gave it.
    pub(crate) identity: Option<String>,
    /// For `/token` and the admin API.
    pub(crate) access: Option<String>,
    /// For `/v2/`: everything that could be had of the repository and the catalog.
    pub(crate) registry: Option<String>,
    /// Locations of two uploads: its own if it may push, else an owner's.
    pub(crate) uploads: Vec<String>,
}

impl Caller {
    /// All callers, in the order of the columns.
    pub(crate) async fn all(stage: &Stage) -> Result<Vec<Self>> {
        let mut people = Vec::new();
        for name in &CALLERS[3..] {
            people.push(Self::person(stage, name).await?);
        }
        let owner = people.last().context("an owner")?.clone();
        for caller in people.iter_mut().filter(|caller| caller.uploads.is_empty()) {
            caller.uploads.clone_from(&owner.uploads);
        }
        let mut all = vec![
            Self {
                name: CALLERS[0],
                identity: None,
                access: None,
                registry: None,
                uploads: owner.uploads.clone(),
            },
            // What an owner would have, but for the one thing.
            Self::forged(stage, &owner, CALLERS[1]).await?,
            Self::forged(stage, &owner, CALLERS[2]).await?,
        ];
        all.extend(people);
        Ok(all)
    }

    async fn person(stage: &Stage, name: &'static str) -> Result<Self> {
        let identity = stage.organisation.issuers.person(&subject(name));
        let access = stage.organisation.access_token(&identity).await?;
        let registry = stage.organisation.cluster.anonymous()?;
        let token = registry_token(&registry, &access).await?;
        let mut uploads = Vec::new();
        if ["pusher", "owner"].contains(&name) {
            let session = Session::new(registry, token.clone());
            for _ in 0..2 {
                uploads.push(session.open_upload(REPOSITORY).await?);
            }
        }
        Ok(Self {
            name,
            identity: Some(identity),
            access: Some(access),
            registry: Some(token),
            uploads,
        })
    }

    async fn forged(stage: &Stage, owner: &Self, name: &'static str) -> Result<Self> {
        let cluster = &stage.organisation.cluster;
        let keys = async |path| cluster.anonymous()?.get(path).await?.expect(200)?.json();
        let (access, registry) = (owner.access.as_deref(), owner.registry.as_deref());
        let (access, registry) = access.zip(registry).context("an owner has tokens")?;
        let jwks: [Value; 2] = [
            keys("/.well-known/jwks/access.json").await?,
            keys("/.well-known/jwks/registry.json").await?,
        ];
        let forge = Forge::new(&cluster.home().data(), access, registry, [&jwks[0], &jwks[1]])?;
        let expired = name == "expired";
        let spoil = |kind: Kind| {
            let mut claims = forge.claims(kind);
            if expired {
                for time in ["iat", "nbf", "exp"] {
                    let at = claims[time].as_i64().unwrap_or_default();
                    claims[time] = json!(at - 86_400);
                }
            } else {
                claims["aud"] = json!("registry.elsewhere.example");
            }
            forge.sign(kind, &forge.header(kind), &claims)
        };
        let people = &stage.organisation.issuers.people;
        let now = claims(owner.identity.as_deref().context("an owner has one")?)?["iat"]
            .as_i64()
            .context("a time")?;
        let identity = if expired {
            people.issue(&json!({ "sub": subject("owner"), "aud": LOGIN_CLIENT, "iat": now - 7_200, "exp": now - 3_600 }))
        } else {
            people.issue(&json!({ "sub": subject("owner"), "aud": "another-client" }))
        };
        Ok(Self {
            name,
            identity: Some(identity),
            access: Some(spoil(Kind::Access)),
            registry: Some(spoil(Kind::Registry)),
            uploads: owner.uploads.clone(),
        })
    }
}

impl Caller {
    /// The id in the location of the first upload.
    pub(crate) fn upload_id(&self) -> String {
        let path = self.uploads[0].split('?').next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default().to_owned()
    }
}

/// The name by which a caller's issuer knows it.
pub(crate) fn subject(caller: &str) -> String {
    caller.replace(' ', "-")
}

async fn registry_token(registry: &Registry, access: &str) -> Result<String> {
    let caller = registry.with(Credential::Token(access.to_owned()))?;
    caller
        .token(&[
            &format!("repository:{REPOSITORY}:pull,push,delete"),
            "registry:catalog:*",
        ])
        .await
}

/// The claims of a token, unverified.
pub(crate) fn claims(token: &str) -> Result<Value> {
    let claims = token.split('.').nth(1).context("not a JWT")?;
    Ok(serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims)?)?)
}
