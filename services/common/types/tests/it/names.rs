//! Names of repositories, tags, references and prefixes.

use proptest::prelude::*;
use roadstead_types::{Digest, NameError, Reference, RepositoryName, RepositoryPrefix, Tag};
use rstest::rstest;

/// `<name>` of the distribution specification, with bounds on its repetitions so that it stays below the limit.
const NAME: &str = r"[a-z0-9]{1,4}((\.|_|__|-{1,4})[a-z0-9]{1,4}){0,3}(/[a-z0-9]{1,4}((\.|_|__|-{1,4})[a-z0-9]{1,4}){0,3}){0,4}";
const TAG: &str = r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}";

fn name(text: &str) -> RepositoryName {
    RepositoryName::parse(text).unwrap()
}

#[rstest]
#[case("a")]
#[case("library/ubuntu")]
#[case("a.b/c_d/e__f/g-h/i---j")]
#[case("0/1/2")]
fn names_of_the_grammar_are_accepted(#[case] text: &str) {
    assert_eq!(name(text).as_str(), text);
}

#[rstest]
#[case::empty("")]
#[case::slash("/")]
#[case::leading_slash("/a")]
#[case::trailing_slash("a/")]
#[case::empty_component("a//b")]
#[case::upper_case("Library/ubuntu")]
#[case::leading_dash("-a")]
#[case::trailing_dot("a.")]
#[case::parent("a/../b")]
#[case::dots("a..b")]
#[case::three_underscores("a___b")]
#[case::mixed("a._b")]
#[case::dash_dot("a-.b")]
#[case::reserved("_catalog")]
#[case::extension("a/_oci/ext")]
#[case::space("a b")]
#[case::unicode("caf\u{e9}")]
#[case::newline("a\n")]
#[case::colon("localhost:5000/a")]
fn other_names_are_refused(#[case] text: &str) {
    assert_eq!(RepositoryName::parse(text), Err(NameError::Repository));
}

#[test]
fn a_name_has_at_most_255_characters() {
    assert!(RepositoryName::parse(&"a".repeat(255)).is_ok());
    assert_eq!(
        RepositoryName::parse(&"a".repeat(256)),
        Err(NameError::RepositoryTooLong)
    );
}

#[rstest]
#[case::empty("")]
#[case::dot(".latest")]
#[case::dash("-latest")]
#[case::slash("a/b")]
#[case::space("a b")]
#[case::colon("a:b")]
fn what_is_no_tag_is_refused(#[case] text: &str) {
    assert_eq!(Tag::parse(text), Err(NameError::Tag));
}

#[test]
fn a_tag_has_at_most_128_characters() {
    assert!(Tag::parse(&"t".repeat(128)).is_ok());
    assert!(Tag::parse(&"t".repeat(129)).is_err());
}

#[test]
fn a_reference_is_a_tag_or_a_digest() {
    let digest = Digest::sha256(b"");
    assert_eq!(
        Reference::parse(digest.as_str()),
        Ok(Reference::Digest(digest.clone()))
    );
    assert_eq!(
        Reference::parse("latest"),
        Ok(Reference::Tag(Tag::parse("latest").unwrap()))
    );
    assert!(matches!(Reference::parse("sha256:00"), Err(NameError::Digest(_))));
    assert_eq!(Reference::parse(digest.as_str()).unwrap().digest(), Some(&digest));
    assert_eq!(
        Reference::parse("latest").unwrap().tag().map(Tag::as_str),
        Some("latest")
    );
    assert_eq!(Reference::parse("latest").unwrap().digest(), None);
}

#[rstest]
#[case("acme/web", "acme/web", true)]
#[case("acme/web", "acme/web/frontend", true)]
#[case("acme/web/", "acme/web/frontend", true)]
#[case("acme/web", "acme/website", false)]
#[case("acme/web", "acme/web-2", false)]
#[case("acme/web", "acme", false)]
#[case("acme/web", "x/acme/web", false)]
#[case("", "anything/at/all", true)]
fn a_prefix_contains_whole_segments(#[case] prefix: &str, #[case] repository: &str, #[case] contained: bool) {
    assert_eq!(
        RepositoryPrefix::parse(prefix)
            .unwrap()
            .contains(&name(repository)),
        contained
    );
}

#[rstest]
#[case("/")]
#[case("acme/we*")]
#[case("acme//")]
#[case("Acme")]
fn what_is_no_prefix_is_refused(#[case] text: &str) {
    assert!(RepositoryPrefix::parse(text).is_err());
}

proptest! {
    #[test]
    fn the_specification_s_names_are_accepted(text in NAME) {
        let parsed = name(&text);
        prop_assert_eq!(parsed.as_str(), &text);
        let json = serde_json::to_string(&parsed).unwrap();
        prop_assert_eq!(serde_json::from_str::<RepositoryName>(&json).unwrap(), parsed);
    }

    #[test]
    fn only_the_specification_s_names_are_accepted(text in "[a-c/._-]{0,12}") {
        let by_hand = text.split('/').all(|component| {
            // The grammar once more, by another way: what is between two alphanumeric runs is a separator.
            let parts: Vec<&str> = component.split(|c: char| c.is_ascii_alphanumeric()).collect();
            parts.len() >= 2
                && parts[0].is_empty()
                && parts[parts.len() - 1].is_empty()
                && parts.iter().all(|part| {
                    part.is_empty() || [".", "_", "__"].contains(part) || part.chars().all(|c| c == '-')
                })
        });
        prop_assert_eq!(RepositoryName::parse(&text).is_ok(), by_hand);
    }

    #[test]
    fn the_specification_s_tags_are_accepted(text in TAG) {
        let tag = Tag::parse(&text).unwrap();
        prop_assert_eq!(tag.as_str(), &text);
        prop_assert_eq!(Reference::parse(&text).unwrap().to_string(), text);
    }

    #[test]
    fn any_text_is_a_reference_or_an_error(text in ".{0,200}") {
        if let Ok(reference) = Reference::parse(&text) {
            prop_assert_eq!(reference.as_str(), text);
        }
    }

    #[test]
    fn a_prefix_contains_what_is_below_it_and_nothing_beside(
        prefix in "[a-z]{1,4}(/[a-z]{1,4}){0,2}",
        below in "[a-z]{1,4}",
        other in "[a-z]{1,4}(/[a-z]{1,4}){0,3}",
    ) {
        let parsed = RepositoryPrefix::parse(&prefix).unwrap();
        let below = format!("{prefix}/{below}");
        prop_assert!(parsed.contains(&name(&prefix)));
        prop_assert!(parsed.contains(&name(&below)));
        let segments: Vec<_> = prefix.split('/').collect();
        let expected = other.split('/').take(segments.len()).eq(segments.iter().copied());
        prop_assert_eq!(parsed.contains(&name(&other)), expected);
        prop_assert!(RepositoryPrefix::EVERYTHING.contains(&name(&other)));
    }
}
