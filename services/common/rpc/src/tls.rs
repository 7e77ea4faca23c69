//! Certificates: who this process is, and who it believes others to be.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};

use crate::{Peer, RpcError};

/// Where the PEM files are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// The certificate authority that signs the certificates of all peers.
    pub ca_file: PathBuf,
    /// This process's certificate, with the chain below the authority.
    pub cert_file: PathBuf,
    /// The certificate's private key.
    pub key_file: PathBuf,
}

/// A process's certificate and key, and the authority by which it judges others.
#[derive(Clone)]
pub struct TlsIdentity {
    ca: Vec<u8>,
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl std::fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsIdentity(secret)")
    }
}

impl TlsIdentity {
    /// Takes PEM text. It is parsed when a server or channel is made of it.
    pub fn from_pem(ca: impl Into<Vec<u8>>, cert: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        Self {
            ca: ca.into(),
            cert: cert.into(),
            key: key.into(),
        }
    }

    /// Reads the PEM files.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub fn from_files(config: &TlsConfig) -> Result<Self, RpcError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| RpcError::File {
                path: path.to_owned(),
                source,
            })
        };
        Ok(Self {
            ca: read(&config.ca_file)?,
            cert: read(&config.cert_file)?,
            key: read(&config.key_file)?,
        })
    }

    pub(crate) fn client_config(&self, server: Peer) -> ClientTlsConfig {
        ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.ca))
            .identity(Identity::from_pem(&self.cert, &self.key))
            .domain_name(server.dns_name())
    }

    /// A client's certificate must come from the authority. A client without one gets as far as an RPC, so that it is
    /// told why it is refused instead of seeing the connection die.
    pub(crate) fn server_config(&self, server: Peer) -> Result<ServerConfig, RpcError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for authority in certificates(&self.ca, "authority")? {
            roots
                .add(authority)
                .map_err(|error| RpcError::Tls(format!("certificate authority: {error}")))?;
        }
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(|error| RpcError::Tls(format!("certificate authority: {error}")))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| RpcError::Tls(format!("private key: {error}")))?;
        let chain = certificates(&self.cert, "own")?;
        if peer_of(&chain[0]) != Some(server) {
            // Its clients would find out, but could only say that it cannot be reached.
            return Err(RpcError::Tls(format!(
                "the certificate is not of {}",
                server.dns_name()
            )));
        }
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| RpcError::Tls(error.to_string()))?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .map_err(|error| RpcError::Tls(format!("certificate: {error}")))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

fn certificates(pem: &[u8], whose: &str) -> Result<Vec<CertificateDer<'static>>, RpcError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| RpcError::Tls(format!("{whose} certificate: {error}")))?;
    if certificates.is_empty() {
        return Err(RpcError::Tls(format!(
            "{whose} certificate: there is none in the file"
        )));
    }
    Ok(certificates)
}

/// The peer whom a verified certificate names among its DNS names. A certificate that names two peers names none: what
/// it may do would depend on their order.
pub(crate) fn peer_of(certificate: &CertificateDer<'_>) -> Option<Peer> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let mut peers = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Peer::from_dns_name(name),
        _ => None,
    });
    let peer = peers.next()?;
    peers.all(|other| other == peer).then_some(peer)
}
