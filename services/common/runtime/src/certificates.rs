//! Certificates for services on one machine, made for one run.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use fail::fail_point;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use roadstead_rpc::{Peer, SealKey};
use roadstead_types::Clock;
use time::{Duration, OffsetDateTime};

/// Who gets a certificate: the services, and whoever operates them.
const PEERS: [Peer; 6] = [
    Peer::Gateway,
    Peer::Auth,
    Peer::Metadata,
    Peer::Blobs,
    Peer::Events,
    Peer::Operator,
];

/// Far longer than a run, far shorter than a forgotten directory stays dangerous.
const LIFETIME: Duration = Duration::days(30);

/// How far the clocks of two processes may disagree.
const SKEW: Duration = Duration::hours(1);

/// Writes a new certificate authority and what it signed into `dir`, which is created if need be: `ca.pem`, a
/// `<name>.pem` and `<name>.key` for each service and for `operator`, and `seal.key`, which metadata and blobs share. The
/// authority's own key is kept nowhere, so nothing can join them later.
///
/// # Errors
///
/// If `dir` holds an authority already or can't be written.
pub fn mint(dir: &Path, clock: &Clock) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    let ca_file = dir.join("ca.pem");
    ensure!(
        !ca_file.exists(),
        "{} exists: certificates are made for one run only",
        ca_file.display()
    );
    let now = OffsetDateTime::from(clock.now());
    let ca = authority(now)?;
    for peer in PEERS {
        let key = KeyPair::generate()?;
        let certificate = leaf(peer, now)?.signed_by(&key, &ca)?;
        write_private(&dir.join(format!("{peer}.key")), &key.serialize_pem())?;
        write_private(&dir.join(format!("{peer}.pem")), &certificate.pem())?;
    }
    write_private(&dir.join("seal.key"), &SealKey::generate().to_base64())?;
    // Last: whoever sees the authority may rely on the rest.
    write_private(&ca_file, &AsRef::<Certificate>::as_ref(&ca).pem())
}

/// Writes `text` and a newline to a new file that only its owner can read, and never leaves half of it at `path`.
///
/// # Errors
///
/// If `path` exists or its directory can't be written.
pub fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let context = || format!("writing {}", path.display());
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.new", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .with_context(context)?;
    file.write_all(text.trim_end().as_bytes()).with_context(context)?;
    file.write_all(b"\n").with_context(context)?;
    fail_point!("runtime::secret::before_fsync");
    file.sync_all().with_context(context)?;
    fail_point!("runtime::secret::before_link");
    // A link refuses an existing name where a rename would replace it: of two first starts, one key wins for both.
    let linked = fs::hard_link(&temporary, path).with_context(context);
    fail_point!("runtime::secret::before_unlink");
    fs::remove_file(&temporary).with_context(context)?;
    linked?;
    fail_point!("runtime::secret::before_directory_fsync");
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::File::open(parent)
            .and_then(|dir| dir.sync_all())
            .with_context(context)?;
    }
    fail_point!("runtime::secret::after_directory_fsync");
    Ok(())
}

/// Removes what processes that died in [`write_private`] left beside `path`: each is a secret that nobody uses.
///
/// # Errors
///
/// If its directory can't be read or written.
pub fn discard_unfinished(path: &Path) -> anyhow::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(OsStr::to_str)) else {
        return Ok(());
    };
    let context = || format!("tidying {}", directory.display());
    for entry in fs::read_dir(directory).with_context(context)? {
        let entry = entry.with_context(context)?;
        let found = entry.file_name();
        let process = found
            .to_str()
            .and_then(|found| found.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(".new"));
        if process.is_some_and(|process| process.parse::<u32>().is_ok()) {
            fs::remove_file(entry.path()).with_context(context)?;
        }
    }
    Ok(())
}

fn authority(now: OffsetDateTime) -> anyhow::Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (now - SKEW, now + LIFETIME);
    params
        .distinguished_name
        .push(DnType::CommonName, "Roadstead, one run");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn leaf(peer: Peer, now: OffsetDateTime) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(vec![peer.dns_name().to_owned()])?;
    (params.not_before, params.not_after) = (now - SKEW, now + LIFETIME);
    params
        .distinguished_name
        .push(DnType::CommonName, format!("roadstead-{peer}"));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    Ok(params)
}
