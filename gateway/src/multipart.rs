//! The frame of a `multipart/byteranges` answer (RFC 9110 section 14.6).

use bytes::Bytes;
use http::HeaderValue;

use crate::range::ByteRange;

/// Writes what stands between the parts, and knows the length of the whole beforehand.
#[derive(Debug)]
pub(crate) struct Multipart {
    boundary: String,
    size: u64,
}

impl Multipart {
    /// Starts an answer about a blob of `size` bytes. The boundary is random, so that no blob can contain it on purpose.
    pub(crate) fn new(size: u64) -> Self {
        Self {
            boundary: format!("{:032x}", rand::random::<u128>()),
            size,
        }
    }

    pub(crate) fn content_type(&self) -> HeaderValue {
        let text = format!("multipart/byteranges; boundary={}", self.boundary);
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("multipart/byteranges"))
    }

    /// What precedes the bytes of a part. The line break before the first boundary is an empty preamble.
    pub(crate) fn head(&self, range: ByteRange) -> Bytes {
        let ByteRange { first, last } = range;
        let (boundary, size) = (&self.boundary, self.size);
        format!(
            "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {first}-{last}/{size}\r\n\r\n"
        )
        .into()
    }

    /// What follows the last part.
    pub(crate) fn tail(&self) -> Bytes {
        format!("\r\n--{}--\r\n", self.boundary).into()
    }

    /// The length of the whole answer.
    pub(crate) fn length(&self, ranges: &[ByteRange]) -> u64 {
        let parts: u64 = ranges
            .iter()
            .map(|range| self.head(*range).len() as u64 + range.length())
            .sum();
        parts + self.tail().len() as u64
    }
}
