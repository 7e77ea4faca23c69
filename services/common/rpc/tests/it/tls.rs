//! Certificates for tests.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use roadstead_rpc::TlsIdentity;

/// A certificate authority of one test.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(),
        }
    }

    pub(crate) fn ca_pem(&self) -> String {
        self.issuer.pem()
    }

    /// An identity whose certificate this authority signed.
    pub(crate) fn identity(&self, names: &[&str]) -> TlsIdentity {
        self.identity_trusting(names, self)
    }

    /// An identity whose certificate this authority signed, and which trusts another.
    pub(crate) fn identity_trusting(&self, names: &[&str], trusted: &Self) -> TlsIdentity {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &self.issuer)
            .unwrap();
        TlsIdentity::from_pem(trusted.ca_pem(), certificate.pem(), key.serialize_pem())
    }
}
