//! Byte ranges of RFC 9110 section 14, and the chunk positions of the distribution specification, which only look alike.

/// Bytes `first` to `last`, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub first: u64,
    /// The last byte; not before the first.
    pub last: u64,
}

impl ByteRange {
    /// How many bytes there are; at least one.
    pub const fn length(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    /// Parses the `Content-Range` of an upload's chunk: `^[0-9]+-[0-9]+$`, without unit and total.
    pub fn parse_chunk(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        let (first, last) = (exact_number(first)?, exact_number(last)?);
        // The byte after `last`, where the next chunk begins, must have a number too.
        (first <= last && last < u64::MAX).then_some(Self { first, last })
    }
}

/// Which bytes of a blob to send.
#[derive(Debug, PartialEq, Eq)]
pub enum Selection {
    /// All: there is no `Range`, or none that is understood, which RFC 9110 says to ignore.
    Whole,
    /// One range: a plain 206.
    One(ByteRange),
    /// Two or more: 206 with `multipart/byteranges`.
    Many(Vec<ByteRange>),
    /// 416.
    NotSatisfiable,
    /// More ranges than allowed: 400.
    TooMany,
}

/// Reads a `Range` header for a representation of `size` bytes.
///
/// Ranges keep their order and number, because partial pulls match the parts of the answer to what they asked by
/// position; only ranges that overlap are joined, since they could make the answer larger than the blob. A range whose
/// end lies before its start makes the header unsatisfiable rather than ignored: whoever sent it did not want it all.
pub fn select(header: &str, size: u64, max_ranges: usize) -> Selection {
    let Some((unit, list)) = header.split_once('=') else {
        return Selection::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Selection::Whole;
    }
    let mut ranges = Vec::new();
    let mut named = 0_usize;
    for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        named += 1;
        if named > max_ranges {
            return Selection::TooMany;
        }
        match parse_item(item, size) {
            Item::Range(range) => ranges.push(range),
            Item::Beyond => {}
            Item::Backwards => return Selection::NotSatisfiable,
            Item::Malformed => return Selection::Whole,
        }
    }
    if named == 0 {
        return Selection::Whole;
    }
    let ranges = join_overlapping(ranges);
    match ranges.as_slice() {
        [] => Selection::NotSatisfiable,
        [only] => Selection::One(*only),
        _ => Selection::Many(ranges),
    }
}

enum Item {
    Range(ByteRange),
    Beyond,
    Backwards,
    Malformed,
}

fn parse_item(item: &str, size: u64) -> Item {
    let Some((first, last)) = item.split_once('-') else {
        return Item::Malformed;
    };
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        return match number(last) {
            None => Item::Malformed,
            Some(0) => Item::Beyond,
            Some(_) if size == 0 => Item::Beyond,
            Some(length) => Item::Range(ByteRange {
                first: size.saturating_sub(length),
                last: size - 1,
            }),
        };
    }
    let Some(first) = number(first) else {
        return Item::Malformed;
    };
    let last = if last.is_empty() {
        Some(u64::MAX)
    } else {
        number(last)
    };
    match last {
        None => Item::Malformed,
        Some(last) if last < first => Item::Backwards,
        Some(_) if first >= size => Item::Beyond,
        Some(last) => Item::Range(ByteRange {
            first,
            last: last.min(size - 1),
        }),
    }
}

/// Reads digits; a number too large for any blob is as good as the largest.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

fn exact_number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn join_overlapping(ranges: Vec<ByteRange>) -> Vec<ByteRange> {
    let mut sorted = ranges.clone();
    sorted.sort_unstable_by_key(|range| (range.first, range.last));
    if sorted.windows(2).all(|pair| pair[0].last < pair[1].first) {
        return ranges;
    }
    let mut joined: Vec<ByteRange> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match joined.last_mut() {
            Some(previous) if range.first <= previous.last => previous.last = previous.last.max(range.last),
            _ => joined.push(range),
        }
    }
    joined
}
