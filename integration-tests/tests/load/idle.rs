//! Connections that are open and ask for nothing.

use anyhow::{Context as _, Result, ensure};
use roadstead_integration_tests::{Cluster, Session};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Connections on which each one request was answered.
#[derive(Debug)]
pub(crate) struct IdleConnections {
    connections: Vec<TcpStream>,
    request: String,
}

impl IdleConnections {
    pub(crate) async fn open(cluster: &Cluster, session: &Session, count: usize) -> Result<Self> {
        let address = cluster.address();
        let request = format!(
            "HEAD /v2/ HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\r\n",
            session.token()
        );
        let mut idle = Self {
            connections: Vec::new(),
            request,
        };
        for _ in 0..count {
            idle.connections.push(TcpStream::connect(&address).await?);
        }
        idle.ask_all().await?;
        Ok(idle)
    }

    /// Requires every connection to be served still.
    pub(crate) async fn ask_all(&mut self) -> Result<()> {
        for connection in &mut self.connections {
            connection.write_all(self.request.as_bytes()).await?;
            let head = head(connection)
                .await
                .context("the answer on an idle connection")?;
            ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
        }
        Ok(())
    }
}

async fn head(connection: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let read = connection.read_buf(&mut head).await?;
        ensure!(
            read > 0,
            "it was closed after {:?}",
            String::from_utf8_lossy(&head)
        );
    }
    Ok(String::from_utf8(head)?)
}
