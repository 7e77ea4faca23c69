//! The ports on which services talk to each other, and people who have no business there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::FutureExt as _;
use futures::future::try_join_all;
use roadstead_integration_tests::deadline::eventually;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::arena::Arena;
use crate::frames::{SETTINGS, frame, hello};
use crate::table::{Case, Table, act};
use crate::wire::Connection;

pub(crate) const TABLE: Table = Table::new(cases);

/// How long a service keeps those whom it does not know, and what a busy machine may add.
const STRANGER_LIMIT: Duration = Duration::from_secs(10);
const SLACK: Duration = Duration::from_secs(8);
/// Of each kind in a crowd: more than a service lets in.
const MANY: usize = 200;
/// How many a service lets in, and how many files it has open besides.
const MOST_STRANGERS: usize = 256;
const OWN_FILES: usize = 60;

#[rustfmt::skip] // A row is a line.
fn cases() -> Vec<Case> {
    let garbage: [(&str, &[u8]); 6] = [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("HTTP/2 without TLS", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        ("noise", b"\xde\xad\xbe\xef\xde\xad\xbe\xef\xde\xad\xbe\xef"),
        ("a TLS record of nothing", b"\x16\x03\x01\x00\x00"),
        ("a TLS record of 64 KiB", b"\x16\x03\x01\xff\xff\x01\x00\xff\xff"),
        ("a TLS alert", b"\x15\x03\x01\x00\x02\x02\x28"),
    ];
    let mut cases: Vec<Case> = garbage
        .into_iter()
        .map(|(what, bytes)| act(format!("{what} at every service"), move |arena| unreadable(arena, bytes).boxed_local()))
        .collect();
    cases.extend([
        act("TLS 1.2", |arena| old_tls(arena).boxed_local()),
        act("another service's name", |arena| another_name(arena).boxed_local()),
        act("hundreds of strangers, of whom one always talks", |arena| crowd(arena).boxed_local()),
    ]);
    cases
}

/// The services by the name in their certificates.
fn services(arena: &Arena) -> Result<BTreeMap<String, String>> {
    let said = arena.cluster.process().stderr();
    let services: BTreeMap<String, String> = said
        .lines()
        .filter_map(|line| line.strip_prefix("roadstead-")?.split_once(" ready: rpc "))
        .map(|(name, rest)| {
            (
                format!("{name}.roadstead.internal"),
                rest.split(' ').next().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    ensure!(services.len() == 4, "four services, not {services:?}");
    Ok(services)
}

/// What is no TLS is closed, at once or after the time that a handshake may take.
async fn unreadable(arena: &Arena, bytes: &[u8]) -> Result<()> {
    for (name, address) in services(arena)? {
        let mut connection = Connection::open(&address).await?;
        connection.send(bytes).await?;
        connection.finish_sending().await;
        let said = connection.closed().await?;
        // An alert of TLS is all that there is to say.
        ensure!(
            said.len() <= 16 && !said.starts_with(b"HTTP"),
            "{name} said {said:?}"
        );
    }
    Ok(())
}

fn connector(arena: &Arena, version: &'static rustls::SupportedProtocolVersion) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&std::fs::read(authority(arena)?)?) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The certificate of the authority that was made for this run.
fn authority(arena: &Arena) -> Result<std::path::PathBuf> {
    std::fs::read_dir(arena.cluster.home().scratch())?
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("tls/ca.pem"))
        .find(|path| path.is_file())
        .context("the run's certificate authority")
}

async fn shake(connector: &TlsConnector, name: &str, address: &str) -> Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned())?;
    Ok(timeout(STRANGER_LIMIT, connector.connect(name, stream)).await??)
}

async fn old_tls(arena: &Arena) -> Result<()> {
    let connector = connector(arena, &rustls::version::TLS12)?;
    for (name, address) in services(arena)? {
        ensure!(
            shake(&connector, &name, &address).await.is_err(),
            "{name} speaks TLS 1.2"
        );
    }
    Ok(())
}

/// Who looks for one service and finds another is not taken in.
async fn another_name(arena: &Arena) -> Result<()> {
    let connector = connector(arena, &rustls::version::TLS13)?;
    for (name, address) in services(arena)? {
        shake(&connector, &name, &address)
            .await
            .context("the right name")?;
        let wrong = shake(&connector, "gateway.roadstead.internal", &address).await;
        ensure!(wrong.is_err(), "{name} passes for the gateway");
    }
    Ok(())
}

async fn shown_out(mut stream: TlsStream<TcpStream>) -> Result<()> {
    stream.write_all(&hello(&[])).await?;
    let mut said = [0; 4096];
    let limit = STRANGER_LIMIT + SLACK;
    let staying = async {
        // Each acknowledgement is answered with another reason to talk.
        while stream.read(&mut said).await.is_ok_and(|count| count > 0) {
            if stream.write_all(&frame(SETTINGS, 0, 0, b"")).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(limit, staying)
        .await
        .with_context(|| format!("is still there after {limit:?}"))?;
    Ok(())
}

/// A crowd at a service's door keeps nobody else from it, neither those who are inside nor those who come. Whoever stays is
/// shown out soon, and whoever comes when there are too many makes the first go.
async fn crowd(arena: &Arena) -> Result<()> {
    let services = services(arena)?;
    let (name, address) = services.first_key_value().context("a service")?;
    let connector = connector(arena, &rustls::version::TLS13)?;
    let talker = shake(&connector, name, address).await?;
    let mut strangers = Vec::new();
    for _ in 0..MANY {
        // Half of them do not even begin.
        strangers.push(TcpStream::connect(address).await?);
        strangers.push(shake(&connector, name, address).await?.into_inner().0);
    }
    let open = eventually("there are no more than may be", SLACK, async || {
        let program = arena
            .cluster
            .process()
            .programs()
            .into_iter()
            .find(|program| program.name == "roadstead-auth");
        let program = program.context("the service's process")?;
        let open = std::fs::read_dir(format!("/proc/{}/fd", program.pid))?.count();
        Ok((open <= MOST_STRANGERS + OWN_FILES).then_some(open))
    })
    .await?;
    println!("strangers: {open} files are open");
    let before = Instant::now();
    for _ in 0..20 {
        let path = "/token?scope=repository:hostile/one:pull";
        arena.cluster.anonymous()?.get(path).await?.expect(200)?;
    }
    ensure!(before.elapsed() < SLACK, "took {:?}", before.elapsed());
    let leaving = strangers.into_iter().map(|mut stream| async move {
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ended = stream.read_to_end(&mut rest).await;
        anyhow::Ok(())
    });
    let leaving = timeout(STRANGER_LIMIT + SLACK, try_join_all(leaving));
    let (left, shown_out) = tokio::join!(leaving, shown_out(talker));
    left.context("strangers are still there")??;
    shown_out
}
