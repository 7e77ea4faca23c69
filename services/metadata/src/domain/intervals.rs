//! Sets of repository names as ranges of a sorted index, so that a listing seeks instead of filtering.

use roadstead_types::RepositorySet;

/// Names from `start` (inclusive) to `end` (exclusive), in byte order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) start: String,
    pub(crate) end: String,
}

/// Whole-segment prefixes are two ranges: the name itself, and what follows its slash. Between the two sort names such as
/// `acme-x` and `acme.x`, which are not under `acme`. The sentinels use that no name has a byte below `-` or above `z`.
fn intervals_of(prefix: &str) -> Vec<Interval> {
    if prefix.is_empty() {
        return vec![Interval {
            start: String::new(),
            end: "{".to_owned(),
        }];
    }
    vec![
        interval_of(prefix),
        Interval {
            start: format!("{prefix}/"),
            end: format!("{prefix}0"),
        },
    ]
}

/// One name.
fn interval_of(name: &str) -> Interval {
    Interval {
        start: name.to_owned(),
        end: format!("{name}!"),
    }
}

/// The names that are in any of the sets, as disjoint ranges in order.
pub(crate) fn visible(sets: &[&RepositorySet]) -> Vec<Interval> {
    let prefixes = sets.iter().flat_map(|set| set.prefixes()).flat_map(intervals_of);
    let single = sets.iter().flat_map(|set| set.repositories()).map(interval_of);
    let mut intervals: Vec<Interval> = prefixes.chain(single).collect();
    intervals.sort_by(|a, b| a.start.cmp(&b.start));
    let mut visible: Vec<Interval> = Vec::new();
    for interval in intervals {
        match visible.last_mut() {
            Some(last) if interval.start <= last.end => {
                last.end = interval.end.max(std::mem::take(&mut last.end));
            }
            _ => visible.push(interval),
        }
    }
    visible
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(prefixes: &[&str], repositories: &[&str]) -> RepositorySet {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        RepositorySet::from_texts(&owned(prefixes), &owned(repositories))
    }

    fn visible_names(sets: &[&RepositorySet]) -> Vec<&'static str> {
        let names = [
            "acme",
            "acme-x",
            "acme.x",
            "acme/web",
            "acme/web/x",
            "acme/website",
            "acme0",
            "other",
            "zz",
        ];
        let intervals = visible(sets);
        for pair in intervals.windows(2) {
            assert!(
                pair[0].end < pair[1].start,
                "disjoint and in order: {intervals:?}"
            );
        }
        let shown: Vec<_> = names
            .into_iter()
            .filter(|name| {
                intervals
                    .iter()
                    .any(|interval| interval.start.as_str() <= *name && *name < interval.end.as_str())
            })
            .collect();
        let parsed = |name: &str| roadstead_types::RepositoryName::parse(name).unwrap();
        let expected: Vec<_> = names
            .into_iter()
            .filter(|name| sets.iter().any(|set| set.contains(&parsed(name))))
            .collect();
        assert_eq!(shown, expected, "the ranges are the sets");
        shown
    }

    #[test]
    fn prefixes_match_whole_segments() {
        assert_eq!(
            visible_names(&[&set(&["acme"], &[])]),
            ["acme", "acme/web", "acme/web/x", "acme/website"]
        );
        assert_eq!(
            visible_names(&[&set(&["acme/web"], &[])]),
            ["acme/web", "acme/web/x"]
        );
        assert_eq!(visible_names(&[&set(&[], &[])]), [""; 0]);
        assert_eq!(visible_names(&[]), [""; 0]);
        assert_eq!(visible_names(&[&set(&[""], &[])]).len(), 9);
    }

    #[test]
    fn a_single_repository_is_one_name() {
        assert_eq!(
            visible_names(&[&set(&["zz"], &["acme", "acme/web"])]),
            ["acme", "acme/web", "zz"]
        );
        assert_eq!(
            visible_names(&[&set(&["acme/web"], &["acme/web", "acme/web/x"])]),
            ["acme/web", "acme/web/x"]
        );
    }

    #[test]
    fn what_is_public_is_visible_beside_what_may_be_read() {
        let public = set(&["other", "acme/web"], &["zz"]);
        assert_eq!(
            visible_names(&[&set(&["acme/website"], &["acme"]), &public]),
            ["acme", "acme/web", "acme/web/x", "acme/website", "other", "zz"]
        );
    }

    #[test]
    fn what_overlaps_becomes_one() {
        assert_eq!(
            visible(&[&set(&["", "acme"], &["acme/web"]), &set(&["zz"], &[])]).len(),
            1
        );
    }
}
