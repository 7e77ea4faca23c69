//! Sets of repository names as ranges of a sorted index, so that a listing seeks instead of filtering.

use roadstead_types::RepositoryPrefix;

use super::policy::Policy;

/// Names from `start` (inclusive) to `end` (exclusive), in byte order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) start: String,
    pub(crate) end: String,
}

impl Interval {
    fn holds(&self, name: &str) -> bool {
        self.start.as_str() <= name && name < self.end.as_str()
    }
}

/// Whole-segment prefixes are two ranges: the name itself, and what follows its slash. Between the two sort names such as
/// `acme-x` and `acme.x`, which are not under `acme`. The sentinels use that no name has a byte below `-` or above `z`.
fn intervals_of(prefix: &RepositoryPrefix) -> Vec<Interval> {
    let prefix = prefix.as_str();
    if prefix.is_empty() {
        return vec![Interval {
            start: String::new(),
            end: "{".to_owned(),
        }];
    }
    vec![
        Interval {
            start: prefix.to_owned(),
            end: format!("{prefix}!"),
        },
        Interval {
            start: format!("{prefix}/"),
            end: format!("{prefix}0"),
        },
    ]
}

/// The names that are under a readable prefix or public, as disjoint ranges in order.
pub(crate) fn visible(readable: &[RepositoryPrefix], policy: &Policy) -> Vec<Interval> {
    let readable: Vec<Interval> = readable.iter().flat_map(intervals_of).collect();
    // Longest prefix first, so that the first that holds a name decides.
    let rules: Vec<(Interval, bool)> = policy
        .visibility()
        .flat_map(|(prefix, public)| {
            intervals_of(prefix)
                .into_iter()
                .map(move |interval| (interval, public))
        })
        .collect();
    let mut bounds: Vec<&String> = readable
        .iter()
        .chain(rules.iter().map(|(interval, _)| interval))
        .flat_map(|interval| [&interval.start, &interval.end])
        .collect();
    bounds.sort();
    bounds.dedup();
    let mut visible: Vec<Interval> = Vec::new();
    for pair in bounds.windows(2) {
        let [start, end] = pair else { continue };
        // No bound lies inside, so the start speaks for all.
        let public = rules
            .iter()
            .find(|(interval, _)| interval.holds(start))
            .is_some_and(|(_, public)| *public);
        if !public && !readable.iter().any(|interval| interval.holds(start)) {
            continue;
        }
        match visible.last_mut() {
            Some(last) if last.end == **start => last.end.clone_from(end),
            _ => visible.push(Interval {
                start: (*start).clone(),
                end: (*end).clone(),
            }),
        }
    }
    visible
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, RepositoryConfig};

    fn visible_names(readable: &[&str], rules: &[(&str, bool)]) -> Vec<&'static str> {
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
        let config = Config {
            repositories: rules
                .iter()
                .map(|(prefix, public)| RepositoryConfig {
                    prefix: (*prefix).to_owned(),
                    public: Some(*public),
                    manifest_validation: None,
                })
                .collect(),
            ..Config::default()
        };
        let readable: Vec<_> = readable
            .iter()
            .map(|prefix| RepositoryPrefix::parse(prefix).unwrap())
            .collect();
        let intervals = visible(&readable, &Policy::new(&config));
        names
            .into_iter()
            .filter(|name| intervals.iter().any(|interval| interval.holds(name)))
            .collect()
    }

    #[test]
    fn prefixes_match_whole_segments() {
        assert_eq!(
            visible_names(&["acme"], &[]),
            ["acme", "acme/web", "acme/web/x", "acme/website"]
        );
        assert_eq!(visible_names(&["acme/web"], &[]), ["acme/web", "acme/web/x"]);
        assert_eq!(visible_names(&[], &[]), [""; 0]);
        assert_eq!(visible_names(&[""], &[]).len(), 9);
    }

    #[test]
    fn public_prefixes_have_private_exceptions_that_readers_still_see() {
        let rules = [("", true), ("acme", false), ("acme/web", true)];
        assert_eq!(
            visible_names(&[], &rules),
            [
                "acme-x",
                "acme.x",
                "acme/web",
                "acme/web/x",
                "acme0",
                "other",
                "zz"
            ]
        );
        assert_eq!(visible_names(&["acme/website"], &rules).len(), 8);
    }

    #[test]
    fn adjacent_ranges_become_one() {
        let config = Config::default();
        let all = [
            RepositoryPrefix::parse("").unwrap(),
            RepositoryPrefix::parse("acme").unwrap(),
        ];
        assert_eq!(visible(&all, &Policy::new(&config)).len(), 1);
    }
}
