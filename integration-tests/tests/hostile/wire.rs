//! HTTP/1.1 spelled out over a socket, for what HTTP libraries refuse to send and hide when it comes.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// Longer than any answer takes; a server that says nothing for this long has hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One answer, whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The head as it came.
    pub(crate) head: String,
}

impl Answer {
    /// Every value of a header.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    /// What came and was not looked at yet.
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: &str) -> Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(address))
            .await
            .context("connecting takes too long")?
            .context("connect")?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        Ok(Self {
            reader,
            writer,
            buffer: Vec::new(),
        })
    }

    /// Sends bytes; a server that does not want them may close while they are on their way.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        timeout(PATIENCE, self.writer.write_all(bytes))
            .await
            .context("the server takes nothing")?
            .context("send")
    }

    /// Sends a request and reads the answer meanwhile, since a server may answer before it has read everything. Gives none
    /// when the connection is closed without an answer.
    pub(crate) async fn ask(&mut self, request: &[u8], is_head: bool) -> Result<Option<Answer>> {
        let Self {
            reader,
            writer,
            buffer,
        } = self;
        let answer = next_answer(reader, buffer, is_head);
        let sending = async {
            // That the server closes before the end is no failure: its answer counts.
            let _closed_early = writer.write_all(request).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            answer = answer => answer,
            () = sending => bail!("unreachable: sending never ends"),
        }
    }

    /// Reads the next answer; none when the connection is closed instead.
    pub(crate) async fn answer(&mut self) -> Result<Option<Answer>> {
        next_answer(&mut self.reader, &mut self.buffer, false).await
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn finish_sending(&mut self) {
        // It may be closed already.
        let _gone = self.writer.shutdown().await;
    }

    /// Breaks the connection off, as a machine does that loses its power.
    pub(crate) fn reset(self) -> Result<()> {
        let stream = self.reader.reunite(self.writer)?;
        stream.set_zero_linger()?;
        Ok(())
    }

    /// Reads until the server closes, and gives what came.
    pub(crate) async fn closed(&mut self) -> Result<Vec<u8>> {
        while fill(&mut self.reader, &mut self.buffer).await? {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Reads exactly so many bytes; gives none when the connection is closed before.
    pub(crate) async fn exactly(&mut self, count: usize) -> Result<Option<Vec<u8>>> {
        while self.buffer.len() < count {
            if !fill(&mut self.reader, &mut self.buffer).await? {
                return Ok(None);
            }
        }
        Ok(Some(self.buffer.drain(..count).collect()))
    }
}

/// Reads more; false at the end of the connection, however it ended.
async fn fill(reader: &mut OwnedReadHalf, buffer: &mut Vec<u8>) -> Result<bool> {
    let read = timeout(PATIENCE, reader.read_buf(buffer))
        .await
        .context("the server neither answers nor closes")?;
    // A reset is an end as well.
    Ok(read.is_ok_and(|count| count > 0))
}

async fn next_answer(
    reader: &mut OwnedReadHalf,
    buffer: &mut Vec<u8>,
    is_head: bool,
) -> Result<Option<Answer>> {
    loop {
        let end = loop {
            if let Some(end) = find(buffer, b"\r\n\r\n") {
                break end;
            }
            if !fill(reader, buffer).await? {
                ensure!(
                    buffer.is_empty(),
                    "half an answer: {:?}",
                    String::from_utf8_lossy(buffer)
                );
                return Ok(None);
            }
        };
        let head: Vec<u8> = buffer.drain(..end + 4).collect();
        let head = String::from_utf8(head).context("a head that is not text")?;
        let mut answer = parse_head(&head)?;
        if answer.status < 200 && answer.status != 101 {
            continue;
        }
        if !is_head && answer.status != 204 && answer.status != 304 {
            answer.body = body(reader, buffer, &answer).await?;
        }
        return Ok(Some(answer));
    }
}

fn parse_head(head: &str) -> Result<Answer> {
    let mut lines = head.trim_end().split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let mut words = status_line.splitn(3, ' ');
    let (version, status) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    ensure!(version.starts_with("HTTP/1."), "not an answer: {status_line:?}");
    let headers = lines
        .map(|line| {
            let (name, value) = line
                .split_once(':')
                .with_context(|| format!("no header: {line:?}"))?;
            Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect::<Result<_>>()?;
    Ok(Answer {
        status: status
            .parse()
            .with_context(|| format!("no status: {status_line:?}"))?,
        headers,
        body: Vec::new(),
        head: head.to_owned(),
    })
}

async fn body(reader: &mut OwnedReadHalf, buffer: &mut Vec<u8>, answer: &Answer) -> Result<Vec<u8>> {
    if let Some(length) = answer.header("content-length") {
        let length: usize = length.parse().context("Content-Length")?;
        while buffer.len() < length {
            ensure!(fill(reader, buffer).await?, "half a body");
        }
        return Ok(buffer.drain(..length).collect());
    }
    if answer.header("transfer-encoding") == Some("chunked") {
        return chunked(reader, buffer).await;
    }
    while fill(reader, buffer).await? {}
    Ok(std::mem::take(buffer))
}

async fn chunked(reader: &mut OwnedReadHalf, buffer: &mut Vec<u8>) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = find(buffer, b"\r\n") {
                break end;
            }
            ensure!(fill(reader, buffer).await?, "half a chunk");
        };
        let size =
            usize::from_str_radix(std::str::from_utf8(&buffer[..end])?, 16).context("a chunk's size")?;
        while buffer.len() < end + 2 + size + 2 {
            ensure!(fill(reader, buffer).await?, "half a chunk");
        }
        body.extend_from_slice(&buffer[end + 2..end + 2 + size]);
        buffer.drain(..end + 2 + size + 2);
        if size == 0 {
            return Ok(body);
        }
    }
}

/// Where `wanted` begins.
pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
