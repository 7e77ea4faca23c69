//! The client that loads: HTTP/1.1 on a kept connection, with as little work of its own as possible.
//!
//! Client and server share a machine, so what the client spends the server lacks. It checks the status and the length of every
//! answer; bytes are checked once, before a case is measured.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Large enough that a blob of 100 MiB takes few calls.
const BUFFER: usize = 256 * 1024;

/// What an answer must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) status: u16,
    /// The `Content-Length`, where it is known beforehand.
    pub(crate) length: Option<u64>,
    /// Whether bytes follow: not to a HEAD.
    pub(crate) body: bool,
}

/// A kept connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What is used of an answer's head.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    /// Its length, with the empty line.
    end: usize,
    status: u16,
    length: Option<u64>,
    location: Option<String>,
}

impl Connection {
    pub(crate) async fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .context("connect")?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; BUFFER],
        })
    }

    /// Sends a request's head, or more of its body.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await.context("send")
    }

    /// Reads an answer to its end; gives how many bytes its body had, and its `Location`.
    pub(crate) async fn answer(&mut self, expected: Expected) -> Result<(u64, Option<String>)> {
        let mut filled = 0;
        let head = loop {
            let count = self
                .stream
                .read(&mut self.buffer[filled..])
                .await
                .context("receive")?;
            ensure!(count > 0, "the connection was closed in the head of an answer");
            filled += count;
            if let Some(head) = Head::parse(&self.buffer[..filled])? {
                break head;
            }
        };
        if head.status != expected.status {
            let text = String::from_utf8_lossy(&self.buffer[..filled.min(1_000)]).into_owned();
            bail!("{} instead of {}: {text}", head.status, expected.status);
        }
        let length = head.length.context("an answer without Content-Length")?;
        if let Some(wanted) = expected.length {
            ensure!(length == wanted, "{length} bytes instead of {wanted}");
        }
        let body = if expected.body { length } else { 0 };
        let mut left = body
            .checked_sub((filled - head.end) as u64)
            .context("more bytes than Content-Length says")?;
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            let count = self
                .stream
                .read(&mut self.buffer[..room])
                .await
                .context("receive")?;
            ensure!(count > 0, "the connection was closed {left} bytes before the end");
            left -= count as u64;
        }
        Ok((body, head.location))
    }
}

impl Head {
    /// Nothing while it is not complete.
    fn parse(bytes: &[u8]) -> Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes[..end]).context("a head that is not text")?;
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok())
            .context("no status line")?;
        let mut head = Self {
            end: end + 4,
            status,
            length: None,
            location: None,
        };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                head.length = Some(value.trim().parse().context("Content-Length")?);
            } else if name.eq_ignore_ascii_case("location") {
                head.location = Some(value.trim().to_owned());
            } else if name.eq_ignore_ascii_case("connection") {
                ensure!(
                    !value.trim().eq_ignore_ascii_case("close"),
                    "the connection is not kept"
                );
            }
        }
        Ok(Some(head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_complete() {
        assert_eq!(
            Head::parse(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n").unwrap(),
            None
        );
        let whole = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nLOCATION: /v2/x?a=b\r\n\r\n";
        let expected = Head {
            end: whole.len(),
            status: 202,
            length: Some(0),
            location: Some("/v2/x?a=b".into()),
        };
        assert_eq!(Head::parse(whole).unwrap(), Some(expected));
    }

    #[test]
    fn what_spoils_a_measurement_is_refused() {
        assert!(Head::parse(b"HTTP/1.0 200 OK\r\n\r\n").is_err());
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").is_err());
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n").is_err());
    }
}
