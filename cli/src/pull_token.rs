//! `roadstead pull-token`: secrets that can pull and nothing else.

use roadstead_proto::auth::v1::{
    CreatePullTokenRequest, ListPullTokensRequest, PullToken, RevokePullTokenRequest, RotatePullTokenRequest,
    pull_token_service_client::PullTokenServiceClient,
};
use roadstead_types::Clock;
use serde_json::{Value, json};

use crate::{
    args::{Asking, Output, PullTokenCreate, PullTokenList, PullTokenRotate, PullTokens, Remote},
    cache::TokenCache,
    error::Error,
    grpc::{AdminApi, Channel},
    iam::{group_resource, repository_resource, resource_json, resource_text},
    listing::{Shown, pages, print_all, print_done, print_json},
    when,
};

/// What the ids of pull tokens begin with.
const ID_PREFIX: &str = "ptk_";

impl Shown for PullToken {
    const COLUMNS: &'static [&'static str] = &[
        "NAME",
        "PULLS",
        "FROM",
        "ENDS",
        "LAST USED",
        "LAST USED FROM",
        "CREATED BY",
        "ID",
    ];

    fn cells(&self) -> Vec<String> {
        let resources: Vec<String> = self.resources.iter().map(resource_text).collect();
        let ends = when::of_millis(self.revoked_at)
            .map(|time| format!("revoked {time}"))
            .or_else(|| when::of_seconds(self.expires_at));
        vec![
            self.name.clone(),
            resources.join(", "),
            if self.networks.is_empty() {
                "anywhere".to_owned()
            } else {
                self.networks.join(" ")
            },
            ends.unwrap_or_default(),
            when::of_millis(self.last_used_at).unwrap_or_else(|| "never".to_owned()),
            self.last_used_from.clone(),
            self.created_by.clone(),
            self.id.clone(),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "resources": self.resources.iter().map(resource_json).collect::<Vec<_>>(),
            "networks": self.networks,
            "created_at": when::of_millis(self.created_at),
            "created_by": self.created_by,
            "expires_at": when::of_seconds(self.expires_at),
            "last_used_at": when::of_millis(self.last_used_at),
            "last_used_from": self.last_used_from,
            "revoked_at": when::of_millis(self.revoked_at),
        })
    }
}

pub(crate) async fn run(command: PullTokens, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    match command {
        PullTokens::Create(flags) => create(flags, cache, clock).await,
        PullTokens::List(flags) => list(flags, cache, clock).await,
        PullTokens::Rotate(flags) => rotate(flags, cache, clock).await,
        PullTokens::Revoke { token, asking } => revoke(token, asking, cache, clock).await,
    }
}

async fn create(flags: PullTokenCreate, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    let repositories = flags.repositories.into_iter().map(repository_resource);
    let groups = flags.groups.into_iter().map(group_resource);
    let request = CreatePullTokenRequest {
        name: flags.name,
        resources: repositories.chain(groups).collect(),
        ttl: flags.ttl,
        networks: flags.networks,
    };
    let (api, mut client) = open(flags.asking.remote, cache, clock).await?;
    let made = api.answer("CreatePullToken", client.create_pull_token(request).await)?;
    let secret = Shows {
        pull_token: made.pull_token.unwrap_or_default(),
        username: made.username,
        token: made.token,
    };
    secret.print(flags.asking.output, &api.host())
}

async fn list(flags: PullTokenList, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    let (api, mut client) = open(flags.listing.asking.remote, cache, clock).await?;
    let tokens = pages(flags.listing.limit, async |page_size, page_token| {
        let request = ListPullTokensRequest {
            group: flags.group.clone(),
            all: flags.all,
            page_size,
            page_token,
        };
        let page = api.answer("ListPullTokens", client.list_pull_tokens(request).await)?;
        Ok((page.pull_tokens, page.next_page_token))
    });
    print_all(flags.listing.asking.output, &tokens.await?)
}

async fn rotate(flags: PullTokenRotate, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    let (api, mut client) = open(flags.asking.remote, cache, clock).await?;
    let request = RotatePullTokenRequest {
        id: named(&api, &mut client, flags.token).await?,
        ttl: flags.ttl.unwrap_or_default(),
        overlap: flags.overlap.unwrap_or_default(),
    };
    let made = api.answer("RotatePullToken", client.rotate_pull_token(request).await)?;
    let secret = Shows {
        pull_token: made.pull_token.unwrap_or_default(),
        username: made.username,
        token: made.token,
    };
    secret.print(flags.asking.output, &api.host())
}

async fn revoke(token: String, asking: Asking, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    let (api, mut client) = open(asking.remote, cache, clock).await?;
    let done = format!("Revoked {token}. Every gateway refuses it within five seconds.");
    let id = named(&api, &mut client, token).await?;
    let answer = client.revoke_pull_token(RevokePullTokenRequest { id }).await;
    api.answer("RevokePullToken", answer)?;
    print_done(asking.output, &done)
}

/// The id of a pull token that is meant by the name that it was given. Two groups can each have one of that name.
async fn named(
    api: &AdminApi,
    client: &mut PullTokenServiceClient<Channel>,
    reference: String,
) -> Result<String, Error> {
    // An id, or a full name: the registry knows both.
    if reference.starts_with(ID_PREFIX) || reference.contains('/') {
        return Ok(reference);
    }
    let tokens = pages(usize::MAX, async |page_size, page_token| {
        let request = ListPullTokensRequest {
            page_size,
            page_token,
            ..ListPullTokensRequest::default()
        };
        let page = api.answer("ListPullTokens", client.list_pull_tokens(request).await)?;
        Ok((page.pull_tokens, page.next_page_token))
    });
    let mut tokens = tokens.await?;
    tokens.retain(|token| token.name.rsplit('/').next() == Some(&reference));
    let ids: Vec<&str> = tokens.iter().map(|token| token.id.as_str()).collect();
    match ids[..] {
        [] => Err(Error::Usage(format!(
            "there is no pull token {reference}, as far as you may see: `roadstead pull-token list` shows them"
        ))),
        [id] => Ok(id.to_owned()),
        _ => Err(Error::Usage(format!(
            "several pull tokens are called {reference}: name one by its id, of {}",
            ids.join(", ")
        ))),
    }
}

/// A secret that is shown this once. No `Debug`: it must not end up in a message.
struct Shows {
    pull_token: PullToken,
    username: String,
    token: String,
}

impl Shows {
    /// The secret alone goes to standard output, so that it can be piped; what to do with it goes beside it.
    fn print(&self, output: Output, host: &str) -> Result<(), Error> {
        if output == Output::Json {
            let mut value = self.pull_token.json();
            value["username"] = self.username.as_str().into();
            value["token"] = self.token.as_str().into();
            return print_json(&value);
        }
        let ends = when::of_seconds(self.pull_token.expires_at).unwrap_or_default();
        eprintln!(
            "The pull token {} is good until {ends}. It is shown this once; the registry keeps only a hash.\n\
             docker login {host} -u {} --password-stdin    takes it on standard input.\n",
            crate::error::printable(&self.pull_token.name),
            crate::error::printable(&self.username),
        );
        println!("{}", self.token);
        Ok(())
    }
}

async fn open(
    remote: Remote,
    cache: &TokenCache,
    clock: &Clock,
) -> Result<(AdminApi, PullTokenServiceClient<Channel>), Error> {
    let api = AdminApi::open(remote, cache, clock).await?;
    let client = PullTokenServiceClient::with_origin(api.channel(), api.origin());
    Ok((api, client))
}
