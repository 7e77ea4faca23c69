//! HTTP/2 spelled out frame by frame (RFC 9113), for what HTTP libraries would never send.

use anyhow::{Context as _, Result, bail};

use crate::wire::Connection;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame with its head.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// What every connection starts with: the preface and settings.
pub(crate) fn hello(settings: &[(u16, u32)]) -> Vec<u8> {
    let settings: Vec<u8> = settings
        .iter()
        .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    [PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat()
}

/// A header block (RFC 7541): every field literal, without indexing and without Huffman's code.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields
        .iter()
        .flat_map(|(name, value)| [&[0][..], &text(name), &text(value)].concat())
        .collect()
}

/// A text with its length.
pub(crate) fn text(text: &str) -> Vec<u8> {
    [integer(text.len(), 7, 0), text.as_bytes().to_vec()].concat()
}

/// An integer with a prefix of so many bits, below which `flags` stand.
fn integer(value: usize, bits: u32, flags: u8) -> Vec<u8> {
    let limit = (1_usize << bits) - 1;
    let byte = |value: usize| u8::try_from(value & 0xff).unwrap_or_default();
    if value < limit {
        return vec![flags | byte(value)];
    }
    let mut bytes = vec![flags | byte(limit)];
    let mut rest = value - limit;
    while rest >= 128 {
        bytes.push(byte(rest % 128 + 128));
        rest /= 128;
    }
    bytes.push(byte(rest));
    bytes
}

/// The fields of a request for `path` by the holder of `token`.
pub(crate) fn request<'a>(
    method: &'a str,
    host: &'a str,
    path: &'a str,
    authorization: &'a str,
) -> Vec<(&'a str, &'a str)> {
    vec![
        (":method", method),
        (":scheme", "http"),
        (":authority", host),
        (":path", path),
        ("authorization", authorization),
    ]
}

/// How the server ended a stream or the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It answered with this status.
    Status(u16),
    /// It reset the stream, for this reason.
    Reset(u32),
    /// It gave the connection up, for this reason.
    GoAway(u32),
    /// It closed the connection.
    Closed,
}

pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame that came.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// Reads a frame; none when the connection is closed.
pub(crate) async fn read(connection: &mut Connection) -> Result<Option<Frame>> {
    let Some(head) = connection.exactly(9).await? else {
        return Ok(None);
    };
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0_u32, |number, byte| number << 8 | u32::from(*byte))
    };
    let length = usize::try_from(number(&head[..3]))?;
    let Some(payload) = connection.exactly(length).await? else {
        return Ok(None);
    };
    Ok(Some(Frame {
        kind: head[3],
        stream: number(&head[5..9]) & 0x7fff_ffff,
        payload,
    }))
}

/// Reads until something is decided about `stream` or the connection.
pub(crate) async fn outcome(connection: &mut Connection, stream: u32) -> Result<Outcome> {
    while let Some(frame) = read(connection).await? {
        match frame.kind {
            HEADERS if frame.stream == stream => return Ok(Outcome::Status(status(&frame)?)),
            RST_STREAM if frame.stream == stream => return Ok(Outcome::Reset(reason(&frame.payload)?)),
            GOAWAY => match reason(frame.payload.get(4..).unwrap_or_default())? {
                // A server that closes in an orderly way; what it says next counts.
                0 => {}
                code => return Ok(Outcome::GoAway(code)),
            },
            _ => {}
        }
    }
    Ok(Outcome::Closed)
}

fn reason(payload: &[u8]) -> Result<u32> {
    let bytes = payload.get(..4).context("a reason of less than four bytes")?;
    Ok(bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

/// The status in a header block, in the forms in which servers write it: indexed, or literal under an indexed name.
fn status(frame: &Frame) -> Result<u16> {
    const STATIC: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    let block = &frame.payload;
    let first = *block.first().context("an empty header block")?;
    if let Some(index) = first.checked_sub(0x88).filter(|index| *index < 7) {
        return Ok(STATIC[usize::from(index)]);
    }
    let (length, digits) = (
        block.get(1).copied().unwrap_or_default(),
        block.get(2..).unwrap_or_default(),
    );
    let digits = match length {
        3 => digits.get(..3).unwrap_or_default().to_vec(),
        // Huffman's code of a digit is five or six bits long.
        0x82 | 0x83 => huffman_digits(digits.get(..usize::from(length & 0x7f)).unwrap_or_default()),
        _ => bail!("no status in {block:?}"),
    };
    Ok(String::from_utf8(digits)?.parse()?)
}

/// Three digits in Huffman's code: 0, 1 and 2 are 00000 to 00010, the others 011001 to 011111.
fn huffman_digits(bytes: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let mut digits = Vec::new();
    let mut at = 0;
    let value = |at: usize, length: usize| {
        bits.get(at..at + length)
            .map(|bits| bits.iter().fold(0_u8, |value, bit| value << 1 | bit))
    };
    while digits.len() < 3 {
        match (value(at, 5), value(at, 6)) {
            (Some(short), _) if short < 3 => {
                digits.push(b'0' + short);
                at += 5;
            }
            (_, Some(long @ 0b01_1001..=0b01_1111)) => {
                digits.push(b'3' + long - 0b01_1001);
                at += 6;
            }
            _ => break,
        }
    }
    digits
}
