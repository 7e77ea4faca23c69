//! Which service may call which: known by its certificate, whoever it calls for.

use std::path::Path;

use anyhow::{Context as _, Result};
use roadstead_integration_tests::gateways::{certificates, rpc_address};
use roadstead_rpc::{ErrorReason, reason};
use tonic::Status;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::cells::open;
use super::stage::Stage;

/// Everybody who has a certificate.
pub(crate) const PEERS: [&str; 6] = ["gateway", "auth", "metadata", "blobs", "events", "operator"];

const GATEWAY: &[&str] = &["gateway"];
const VERIFIERS: &[&str] = &["gateway", "metadata", "events"];

/// The callers of each service, as its contract names them.
const SERVICES: [(&str, &[&str]); 22] = [
    ("auth.v1.TokenService", GATEWAY),
    ("auth.v1.KeyService", VERIFIERS),
    ("auth.v1.AuthorizationService", VERIFIERS),
    ("auth.v1.RepositoryNoticeService", &["metadata"]),
    ("auth.v1.RevocationService", VERIFIERS),
    ("auth.v1.OutboxService", &["events"]),
    ("auth.v1.DevIssuerService", GATEWAY),
    ("auth.v1.GroupService", GATEWAY),
    ("auth.v1.IdentityService", GATEWAY),
    ("auth.v1.RoleService", GATEWAY),
    ("auth.v1.BindingService", GATEWAY),
    ("auth.v1.PolicyService", GATEWAY),
    ("auth.v1.PullTokenService", GATEWAY),
    ("metadata.v1.ReadService", GATEWAY),
    ("metadata.v1.WriteService", GATEWAY),
    ("metadata.v1.UploadService", GATEWAY),
    ("metadata.v1.RepositoryAdminService", GATEWAY),
    ("metadata.v1.OutboxService", &["events"]),
    ("blobs.v1.BlobReadService", GATEWAY),
    ("blobs.v1.BlobWriteService", GATEWAY),
    ("blobs.v1.BlobAdminService", &["metadata"]),
    ("events.v1.IngestService", GATEWAY),
];

/// The callers of a method; none for one that no row names.
pub(crate) fn callers_of(method: &str) -> Option<&'static [&'static str]> {
    let (service, _) = method.strip_prefix("/roadstead.")?.split_once('/')?;
    // The log is read for users, whom it verifies itself.
    if service == "events.v1.EventQueryService" {
        return Some(GATEWAY);
    }
    let row = SERVICES.iter().find(|(name, _)| *name == service)?;
    Some(row.1)
}

/// A channel to a service that shows a peer's certificate.
pub(crate) async fn channel(stage: &Stage, service: &str, peer: &str) -> Result<Channel> {
    let cluster = &stage.organisation.cluster;
    let directory = certificates(cluster)?;
    let read = |name: &str| read(&directory, name);
    let tls = ClientTlsConfig::new()
        .domain_name(format!("{service}.roadstead.internal"))
        .ca_certificate(Certificate::from_pem(read("ca.pem")?))
        .identity(Identity::from_pem(
            read(&format!("{peer}.pem"))?,
            read(&format!("{peer}.key"))?,
        ));
    let address = rpc_address(cluster, service)?;
    let endpoint = Endpoint::from_shared(format!("https://{address}"))?.tls_config(tls)?;
    endpoint
        .connect()
        .await
        .with_context(|| format!("connect to {service} as {peer}"))
}

fn read(directory: &Path, name: &str) -> Result<Vec<u8>> {
    std::fs::read(directory.join(name)).with_context(|| format!("read {name}"))
}

/// Whether a peer is let in; what comes of an empty message then is no matter here.
pub(crate) async fn is_let_in(channel: &Channel, method: &str) -> Result<bool, Status> {
    match open(channel, method).await {
        Err(status) if reason(&status) == ErrorReason::PeerRefused => Ok(false),
        Err(status) if status.code() == tonic::Code::Unavailable => Err(status),
        _ => Ok(true),
    }
}
