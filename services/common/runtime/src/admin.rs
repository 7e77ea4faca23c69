//! The admin port: `/livez`, `/readyz` and `/metrics`, for operators, never for clients.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use roadstead_rpc::Readiness;
use tokio::net::TcpListener;

use crate::config::RuntimeConfig;
use crate::telemetry::prometheus;

/// How often histograms are folded; between, each sample is kept.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The services of a process, by name.
pub type NamedReadiness = (&'static str, Readiness);

/// Binds the admin port: the configured address or nothing, else the default, else any free port of loopback, so that
/// a second process on the same machine starts without being told.
///
/// # Errors
///
/// If the configured address can't be bound.
pub async fn bind(configured: Option<SocketAddr>) -> anyhow::Result<TcpListener> {
    if let Some(address) = configured {
        return TcpListener::bind(address)
            .await
            .with_context(|| format!("runtime.admin_listen: binding {address}"));
    }
    match TcpListener::bind(RuntimeConfig::DEFAULT_ADMIN).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("binding an admin port"),
    }
}

/// Serves the admin port until dropped.
///
/// # Errors
///
/// If accepting fails for good.
pub async fn serve(listener: TcpListener, services: Vec<NamedReadiness>) -> anyhow::Result<()> {
    let upkeep = async {
        let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            interval.tick().await;
            prometheus().run_upkeep();
        }
    };
    tokio::select! {
        served = std::future::IntoFuture::into_future(axum::serve(listener, router(services))) => served.context("admin port"),
        () = upkeep => Ok(()),
    }
}

fn router(services: Vec<NamedReadiness>) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(async || prometheus().render()))
        .with_state(Arc::new(services))
}

async fn readyz(State(services): State<Arc<Vec<NamedReadiness>>>) -> (StatusCode, String) {
    let mut body = String::new();
    let mut status = StatusCode::OK;
    for (name, readiness) in services.iter() {
        let reason = readiness.reason();
        if reason.is_some() {
            status = StatusCode::SERVICE_UNAVAILABLE;
        }
        let _ = writeln!(body, "{name}: {}", reason.as_deref().unwrap_or("ready"));
    }
    (status, body)
}
