use proptest::prelude::*;
use roadstead_types::{RepositoryName, RepositoryPrefix, RepositorySet};

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn name(text: &str) -> RepositoryName {
    RepositoryName::parse(text).unwrap()
}

#[test]
fn a_single_repository_opens_nothing_below_its_name() {
    let set = RepositorySet::from_texts(&texts(&["open/"]), &texts(&["acme/web"]));
    for inside in ["acme/web", "open", "open/a/b"] {
        assert!(set.contains(&name(inside)), "{inside}");
    }
    for outside in ["acme", "acme/web/x", "acme/website", "opening", "other"] {
        assert!(!set.contains(&name(outside)), "{outside}");
    }
    assert!(!set.is_everything());
}

#[test]
fn what_is_no_name_allows_nothing() {
    let set = RepositorySet::from_texts(&texts(&["/", "Bad", "a//b"]), &texts(&["", "../x", "Bad"]));
    assert_eq!(set, RepositorySet::default());
    assert!(!set.contains(&name("a")));
}

#[test]
fn the_empty_prefix_is_everything_and_the_empty_repository_is_nothing() {
    assert!(RepositorySet::from_texts(&texts(&[""]), &[]).is_everything());
    assert!(!RepositorySet::from_texts(&[], &texts(&[""])).is_everything());
}

proptest! {
    #[test]
    fn prefixes_mean_what_each_of_them_means(
        prefixes in proptest::collection::vec("([ab](/[ab]){0,2})?", 0..4),
        asked in "[ab](/[ab]){0,3}",
    ) {
        let asked = name(&asked);
        let expected = prefixes.iter().any(|prefix| RepositoryPrefix::parse(prefix).unwrap().contains(&asked));
        prop_assert_eq!(RepositorySet::from_texts(&prefixes, &[]).contains(&asked), expected);
    }
}
