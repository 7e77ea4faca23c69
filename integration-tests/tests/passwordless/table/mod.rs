//! Who may call what: every RPC and every route, by every kind of caller.
//!
//! What there is to call is read from the descriptors and from the gateway's own tables, so that nothing new can be
//! forgotten: an RPC or a route without a row fails the test. Each cell is a call and its one right answer.

mod callers;
mod cells;
mod http;
mod internal;
mod peers;
mod rpcs;
mod stage;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use prost::Message as _;
use roadstead_integration_tests::Mode;
use tonic::transport::Channel;

pub(crate) use self::callers::claims;
use self::callers::{CALLERS, Caller};
use self::cells::Cell;
pub(crate) use self::cells::call;
use self::rpcs::Row;
use self::stage::Stage;
use crate::administration;

/// Fewer cells would mean that rows were lost.
const AT_LEAST: usize = 1_500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rpc_and_every_route_by_every_caller() -> Result<()> {
    let stage = Stage::set(Mode::Split).await?;
    let callers = Caller::all(&stage).await?;
    let mut play = Play::default();

    let gateway = administration::channel(&stage.organisation.cluster.address()).await?;
    let listed: BTreeSet<&str> = roadstead_gateway::surface::rpc_methods().collect();
    play.rpcs("through the gateway", &gateway, &stage, &callers, &rpcs::rows())
        .await?;
    play.rpcs(
        "through the gateway",
        &gateway,
        &stage,
        &callers,
        &unlisted(&listed)?,
    )
    .await?;
    // The gateway is not believed: whoever owns a call decides again.
    for service in ["auth", "metadata", "events"] {
        let channel = peers::channel(&stage, service, "gateway").await?;
        let owned = |row: &Row| row.method.contains(&format!(".{service}."));
        let rows: Vec<Row> = rpcs::rows()
            .into_iter()
            .chain(internal::rows())
            .filter(owned)
            .collect();
        play.rpcs(&format!("at {service}"), &channel, &stage, &callers, &rows)
            .await?;
    }
    play.routes(&stage, &callers, &http::rows()).await?;
    play.peers(&stage).await?;

    play.covers(&listed)?;
    println!("{} cells", play.cells);
    ensure!(play.wrong.is_empty(), "{}", play.wrong.join("\n"));
    ensure!(play.cells >= AT_LEAST, "{} cells are too few", play.cells);
    stage.organisation.stop().await
}

/// Every RPC of the contracts.
fn declared() -> Result<BTreeSet<String>> {
    let descriptors = prost_types::FileDescriptorSet::decode(roadstead_proto::DESCRIPTORS)?;
    let services = descriptors.file.iter().flat_map(|file| {
        let package = file.package();
        file.service.iter().map(move |service| (package, service))
    });
    let methods = services.flat_map(|(package, service)| {
        let named = move |method: &str| format!("/{package}.{}/{method}", service.name());
        service.method.iter().map(move |method| named(method.name()))
    });
    Ok(methods.collect())
}

/// What the gateway lists nowhere does not exist for clients, whoever asks.
fn unlisted(listed: &BTreeSet<&str>) -> Result<Vec<Row>> {
    let methods = declared()?;
    let hidden = methods.into_iter().filter(|method| !listed.contains(&**method));
    Ok(hidden
        .map(|method| Row {
            method,
            request: |_, _, _| Vec::new(),
            cells: [Cell::Absent; CALLERS.len()],
        })
        .collect())
}

/// Plays cells and remembers what was wrong and what was played.
#[derive(Default)]
struct Play {
    cells: usize,
    wrong: Vec<String>,
    rpcs: BTreeSet<String>,
    routes: BTreeSet<(String, String)>,
    /// How many calls each method had, so that each finds something of its own to delete.
    turns: BTreeMap<String, usize>,
}

impl Play {
    async fn rpcs(
        &mut self,
        place: &str,
        channel: &Channel,
        stage: &Stage,
        callers: &[Caller],
        rows: &[Row],
    ) -> Result<()> {
        for row in rows {
            for (caller, cell) in callers.iter().zip(row.cells) {
                let turn = self.turns.entry(row.method.clone()).or_default();
                let request = (row.request)(stage, caller, *turn);
                *turn += 1;
                let answer = call(channel, &row.method, caller.access.as_deref(), request).await;
                self.cells += 1;
                if let Err(error) = cell.check(answer.as_ref()) {
                    self.wrong
                        .push(format!("{place}: {} by {}: {error}", row.method, caller.name));
                }
            }
            self.rpcs.insert(row.method.clone());
        }
        Ok(())
    }

    async fn routes(&mut self, stage: &Stage, callers: &[Caller], rows: &[http::Row]) -> Result<()> {
        for row in rows {
            for (turn, (caller, expected)) in callers.iter().zip(&row.cells).enumerate() {
                let reply = row.send(stage, caller, turn).await?;
                self.cells += 1;
                if let Err(error) = expected.check(&reply) {
                    self.wrong.push(format!(
                        "{} {} by {}: {error}",
                        row.method, row.template, caller.name
                    ));
                }
            }
            self.routes
                .insert((row.method.to_owned(), row.template.to_owned()));
        }
        Ok(())
    }

    /// Every RPC by every service and the operator, with their certificates.
    async fn peers(&mut self, stage: &Stage) -> Result<()> {
        for service in ["auth", "metadata", "blobs", "events"] {
            for peer in peers::PEERS {
                let channel = peers::channel(stage, service, peer).await?;
                let prefix = format!("/roadstead.{service}.");
                for method in declared()?.iter().filter(|method| method.starts_with(&prefix)) {
                    let callers = peers::callers_of(method);
                    let callers = callers.with_context(|| format!("a service without a row: {method}"))?;
                    let is_let_in = peers::is_let_in(&channel, method).await?;
                    self.cells += 1;
                    if is_let_in != callers.contains(&peer) {
                        self.wrong
                            .push(format!("{method} by {peer}: let in: {is_let_in}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Requires that all there is was played.
    fn covers(&self, listed: &BTreeSet<&str>) -> Result<()> {
        let declared = declared()?;
        // A row of its own, or a word on why it needs none.
        let own = |method: &str| {
            let rows = rpcs::rows().into_iter().chain(internal::rows());
            rows.filter(|row| row.method == method).count()
                + internal::WITHOUT_CALLER
                    .iter()
                    .filter(|known| method.ends_with(**known))
                    .count()
        };
        let missing: Vec<&String> = declared.iter().filter(|method| own(method) != 1).collect();
        ensure!(missing.is_empty(), "RPCs without a row, or with two: {missing:?}");
        let unplayed: Vec<&String> = declared
            .iter()
            .filter(|method| !self.rpcs.contains(*method))
            .collect();
        ensure!(unplayed.is_empty(), "{unplayed:?} were not played");
        let unknown: Vec<&&str> = listed
            .iter()
            .filter(|method| !declared.contains(**method))
            .collect();
        ensure!(
            unknown.is_empty(),
            "the gateway lists what does not exist: {unknown:?}"
        );
        let routes: BTreeSet<(String, String)> = roadstead_gateway::surface::routes()
            .flat_map(|route| {
                let methods = route.methods.split(", ").filter(|method| !method.is_empty());
                methods.map(move |method| (method.to_owned(), route.template.to_owned()))
            })
            .collect();
        let missing: Vec<_> = routes.difference(&self.routes).collect();
        ensure!(missing.is_empty(), "routes without a row: {missing:?}");
        let gone: Vec<_> = self.routes.difference(&routes).collect();
        ensure!(gone.is_empty(), "rows without a route: {gone:?}");
        Ok(())
    }
}
