//! A certificate authority for mutual TLS in tests.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use roadstead_rpc::{Peer, TlsIdentity};

/// A certificate authority that exists for one test.
pub struct TestCertificates {
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl TestCertificates {
    /// Mints an authority.
    pub fn mint() -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Roadstead test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority =
            CertifiedIssuer::self_signed(params, generate_key()).expect("an authority can be minted");
        Self { authority }
    }

    /// Returns the authority's certificate as PEM.
    pub fn authority_pem(&self) -> String {
        self.authority.pem()
    }

    /// Mints an identity for `peer`, which is also good for `localhost` and the loopback addresses.
    pub fn identity(&self, peer: Peer) -> TlsIdentity {
        let names = [peer.dns_name(), "localhost", "127.0.0.1", "::1"];
        let (certificate, key) = self.certificate(&names);
        TlsIdentity::from_pem(self.authority_pem(), certificate, key)
    }

    /// Mints a certificate for `names` (DNS names or addresses) and returns it and its key as PEM.
    pub fn certificate(&self, names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("the names are well-formed");
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = generate_key();
        let certificate = params
            .signed_by(&key, &self.authority)
            .expect("a certificate can be signed");
        (certificate.pem(), key.serialize_pem())
    }
}

impl std::fmt::Debug for TestCertificates {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TestCertificates").finish_non_exhaustive()
    }
}

fn generate_key() -> KeyPair {
    KeyPair::generate().expect("a key can be generated")
}
