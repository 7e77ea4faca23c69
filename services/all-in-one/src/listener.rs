//! The port that clients reach.

use std::io::ErrorKind;
use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use roadstead_runtime::{ConfigTree, DEFAULT_LISTEN, PublicAddress};
use tokio::net::TcpListener;

/// How many ports after a taken one are tried.
const PORTS_TRIED: u16 = 100;

/// What to do if the port is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusyPort {
    /// Say so and stop: whoever named the port relies on it.
    Refuse,
    /// Take the next free one.
    TakeNext,
}

/// Binds `gateway.listen` and returns the tree with the address that it became.
///
/// The port has to be known before anything is built, because the public address, and with it every token, names it.
pub(crate) async fn bind(tree: ConfigTree, busy_port: BusyPort) -> anyhow::Result<(TcpListener, ConfigTree)> {
    let listen: SocketAddr = match tree.reader().key("gateway.listen") {
        Some(listen) => listen,
        None if tree.contains("gateway.listen") => {
            // Says so together with all else that is wrong.
            crate::check(&tree)?;
            bail!("gateway.listen: is not an address with a port");
        }
        None => DEFAULT_LISTEN,
    };
    // Any port will do for judging the rest; the real one is not known yet if it is to be chosen here.
    let judged = SocketAddr::new(listen.ip(), listen.port().max(1));
    crate::check(&tree.clone().with("gateway.listen", judged.to_string()))?;
    let listener = match TcpListener::bind(listen).await {
        Err(error) if error.kind() == ErrorKind::AddrInUse && busy_port == BusyPort::TakeNext => {
            next_free(listen).await?
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
            "{listen} is in use by another program: stop it, or choose another address with --listen (port 0 takes any)"
        ),
        bound => bound.with_context(|| format!("binding {listen}"))?,
    };
    let address = listener.local_addr()?;
    let tree = tree.with("gateway.listen", address.to_string());
    PublicAddress::from_tree(&tree)?;
    Ok((listener, tree))
}

async fn next_free(taken: SocketAddr) -> anyhow::Result<TcpListener> {
    for port in (taken.port()..u16::MAX).skip(1).take(usize::from(PORTS_TRIED)) {
        match TcpListener::bind((taken.ip(), port)).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            bound => return bound.with_context(|| format!("binding port {port}")),
        }
    }
    bail!("{taken} and the {PORTS_TRIED} ports after it are in use")
}
