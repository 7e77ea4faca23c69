//! `roadstead repos`.

use roadstead_types::Clock;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    args::{Asking, Listing, Remote, Repos, ReposShow},
    cache::TokenCache,
    error::Error,
    grpc::AdminApi,
    iam,
    listing::{Shown, print_all, print_value},
    oci::{Distribution, Page},
    tags::{TagPage, repository},
};

/// As many tags as are shown of one repository.
const MOST_TAGS: usize = 1_000;

/// A repository of a listing.
struct Name(String);

impl Shown for Name {
    const COLUMNS: &'static [&'static str] = &["REPOSITORY"];

    fn cells(&self) -> Vec<String> {
        vec![self.0.clone()]
    }

    fn json(&self) -> Value {
        json!({ "repository": self.0 })
    }
}

#[derive(Deserialize)]
struct Catalog {
    repositories: Vec<String>,
}

impl Page for Catalog {
    fn entries(self) -> Vec<String> {
        self.repositories
    }
}

pub(crate) async fn run(command: Repos, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    match command {
        Repos::List(Listing { asking, limit }) => {
            let api = Distribution::open(asking.remote, "registry:catalog:*", cache, clock).await?;
            let names = api.list::<Catalog>("_catalog", limit).await?;
            print_all(asking.output, &names.into_iter().map(Name).collect::<Vec<_>>())
        }
        Repos::Show(flags) => show(flags, cache, clock).await,
    }
}

async fn show(flags: ReposShow, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    let name = repository(&flags.repository)?;
    let Asking { remote, output } = flags.asking;
    let again = Remote {
        registry: remote.registry.clone(),
        transport: remote.transport.clone(),
    };
    let scope = format!("repository:{name}:pull");
    let distribution = Distribution::open(remote, &scope, cache, clock).await?;
    let tags = distribution
        .list::<TagPage>(&format!("{name}/tags/list"), MOST_TAGS)
        .await?;
    let api = AdminApi::open(again, cache, clock).await?;
    let mut actions = Vec::new();
    for action in ["pull", "push", "delete"] {
        if iam::may(&api, name.as_str(), action).await? {
            actions.push(action);
        }
    }
    let value = json!({ "repository": name, "you_may": actions, "tags": tags });
    print_value(output, &value)
}
