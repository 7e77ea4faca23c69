//! Byte ranges of downloads and chunk positions of uploads.

use proptest::prelude::*;
use roadstead_gateway::range::{ByteRange, Selection, select};
use rstest::rstest;

fn one(first: u64, last: u64) -> Selection {
    Selection::One(ByteRange { first, last })
}

fn many(ranges: &[(u64, u64)]) -> Selection {
    Selection::Many(
        ranges
            .iter()
            .map(|&(first, last)| ByteRange { first, last })
            .collect(),
    )
}

#[rstest]
#[case("bytes=500-1499", one(500, 1499))]
#[case("bytes=500-", one(500, 2999))]
#[case("bytes=-500", one(2500, 2999))]
#[case("bytes=-5000", one(0, 2999))]
#[case("bytes=2000-5000", one(2000, 2999))]
#[case("bytes=0-0", one(0, 0))]
#[case("Bytes = 0-1", one(0, 1))]
#[case("bytes=0-99999999999999999999999", one(0, 2999))]
#[case("bytes=500-0", Selection::NotSatisfiable)]
#[case("bytes=5000-10000", Selection::NotSatisfiable)]
#[case("bytes=3000-", Selection::NotSatisfiable)]
#[case("bytes=99999999999999999999999-", Selection::NotSatisfiable)]
#[case("bytes=-0", Selection::NotSatisfiable)]
#[case("bytes=0-1,5-0", Selection::NotSatisfiable)]
#[case("", Selection::Whole)]
#[case("bytes", Selection::Whole)]
#[case("bytes=", Selection::Whole)]
#[case("bytes=,", Selection::Whole)]
#[case("bytes=-", Selection::Whole)]
#[case("bytes=a-b", Selection::Whole)]
#[case("bytes=1-2-3", Selection::Whole)]
#[case("bytes=+1-2", Selection::Whole)]
#[case("bytes=1-2,x", Selection::Whole)]
#[case("items=0-1", Selection::Whole)]
#[case("bytes=0-1,4-5", many(&[(0, 1), (4, 5)]))]
#[case("bytes= 4-5 , 0-1 ", many(&[(4, 5), (0, 1)]))]
#[case("bytes=0-1,2-3", many(&[(0, 1), (2, 3)]))]
#[case("bytes=0-1,5000-6000", one(0, 1))]
#[case("bytes=0-10,5-20", one(0, 20))]
#[case("bytes=100-110,0-10,5-20", many(&[(0, 20), (100, 110)]))]
#[case("bytes=0-1,2-3,4-5,6-7,8-9", Selection::TooMany)]
fn selections(#[case] header: &str, #[case] expected: Selection) {
    assert_eq!(select(header, 3000, 4), expected);
}

#[test]
fn nothing_is_within_an_empty_blob() {
    for header in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
        assert_eq!(select(header, 0, 4), Selection::NotSatisfiable, "{header}");
    }
}

#[rstest]
#[case("0-0", Some((0, 0)))]
#[case("0-499", Some((0, 499)))]
#[case("500-999", Some((500, 999)))]
#[case("bytes 0-499/1000", None)]
#[case("bytes=0-499", None)]
#[case("0-499/1000", None)]
#[case("5-4", None)]
#[case("-4", None)]
#[case("4-", None)]
#[case("", None)]
#[case("+1-2", None)]
#[case("1 - 2", None)]
#[case("0-18446744073709551615", None)]
#[case("0-99999999999999999999999", None)]
fn chunks(#[case] header: &str, #[case] expected: Option<(u64, u64)>) {
    assert_eq!(
        ByteRange::parse_chunk(header),
        expected.map(|(first, last)| ByteRange { first, last })
    );
}

proptest! {
    /// However a client asks, it gets bytes that exist, no byte twice, and no more ranges than allowed.
    #[test]
    fn selected_ranges_are_within_the_blob_and_apart(
        header in "bytes=((([0-9]{1,3})?-([0-9]{1,3})?)?,?){0,12}",
        size in 0_u64..600,
        max_ranges in 1_usize..8,
    ) {
        let ranges = match select(&header, size, max_ranges) {
            Selection::One(range) => vec![range],
            Selection::Many(ranges) => {
                prop_assert!(ranges.len() >= 2);
                ranges
            }
            Selection::Whole | Selection::NotSatisfiable | Selection::TooMany => return Ok(()),
        };
        prop_assert!(ranges.len() <= max_ranges);
        prop_assert!(ranges.iter().map(|range| range.length()).sum::<u64>() <= size);
        for (index, range) in ranges.iter().enumerate() {
            prop_assert!(range.first <= range.last && range.last < size);
            for other in &ranges[index + 1..] {
                prop_assert!(range.last < other.first || other.last < range.first);
            }
        }
    }

    #[test]
    fn no_header_is_too_strange(header in ".{0,40}", size: u64) {
        let _ = select(&header, size, 4);
        let _ = ByteRange::parse_chunk(&header);
    }
}
