//! Patterns: regular expressions that must match a whole text.

use std::sync::Arc;

use moka::sync::Cache;
use regex::{Regex, RegexBuilder};

/// Compiled patterns are bounded, because whoever may make an identity writes them.
const COMPILED_LIMIT: usize = 1 << 18;
/// What matching may remember; beyond it, matching gets slower instead of larger.
const MEMORY_LIMIT: usize = 1 << 17;
/// No rule needs a longer one.
const TEXT_LIMIT: usize = 1024;
/// Patterns that are kept compiled. Compiling takes longer than all else that a decision does.
const KEPT: u64 = 2048;

/// Texts that have nothing in common. A pattern that matches them all says nothing of whom it means.
const ANYTHING: [&str; 4] = [
    "repo:zqxj/kvwy:ref:refs/heads/qqz",
    "7d0f4c1e-95ab-4a6e-8b52-6f1c3a907e44",
    "zq",
    "https://xkcdq.example/w?z=1",
];

/// A regular expression that must match a whole text.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(Regex);

impl Pattern {
    pub(crate) fn parse(pattern: &str) -> Result<Self, PatternError> {
        if pattern.len() > TEXT_LIMIT {
            return Err(PatternError::TooLong);
        }
        // On its own first: `a)|(?:b` becomes well-formed, and loses its anchors, only inside the group below.
        compile(pattern)?;
        Ok(Self(compile(&format!(r"\A(?:{pattern})\z"))?))
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// Whether it says nothing of whom it means.
    pub(crate) fn matches_anything(&self) -> bool {
        ANYTHING.iter().all(|text| self.matches(text))
    }
}

/// Why a text is no pattern.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum PatternError {
    #[error("the pattern is longer than {TEXT_LIMIT} bytes")]
    TooLong,
    #[error(transparent)]
    Regex(#[from] regex::Error),
}

fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .size_limit(COMPILED_LIMIT)
        .dfa_size_limit(MEMORY_LIMIT)
        .build()
}

/// Patterns that were compiled.
#[derive(Debug)]
pub(crate) struct Patterns(Cache<String, Option<Arc<Pattern>>>);

impl Default for Patterns {
    fn default() -> Self {
        Self(Cache::new(KEPT))
    }
}

impl Patterns {
    /// Whether the whole text matches. What is no pattern matches nothing; none such is stored.
    pub(crate) fn matches(&self, pattern: &str, text: &str) -> bool {
        let compiled = self.0.get(pattern).unwrap_or_else(|| {
            let compiled = Pattern::parse(pattern).ok().map(Arc::new);
            self.0.insert(pattern.to_owned(), compiled.clone());
            compiled
        });
        compiled.is_some_and(|pattern| pattern.matches(text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::{Pattern, Patterns};

    #[rstest]
    #[case::whole("repo:acme/.*", "repo:acme/web", true)]
    #[case::text_before("repo:acme/.*", "x-repo:acme/web", false)]
    #[case::text_after("repo:acme/web", "repo:acme/web:evil", false)]
    #[case::alternatives_are_anchored_left("a|b", "ax", false)]
    #[case::alternatives_are_anchored_right("a|b", "xb", false)]
    #[case::longer_alternative("a|ab", "ab", true)]
    #[case::own_anchors("^a$", "a", true)]
    #[case::line_anchors_do_not_help("(?m)^a$", "a\nb", false)]
    #[case::dot_is_no_newline("a.*", "a\nb", false)]
    #[case::trailing_newline("a", "a\n", false)]
    #[case::case_matters("a", "A", false)]
    #[case::empty_matches_only_empty("", "a", false)]
    fn a_pattern_matches_whole_texts(#[case] pattern: &str, #[case] text: &str, #[case] matches: bool) {
        assert_eq!(Pattern::parse(pattern).unwrap().matches(text), matches);
        let patterns = Patterns::default();
        for _ in 0..2 {
            assert_eq!(patterns.matches(pattern, text), matches);
        }
    }

    #[rstest]
    #[case::escapes_the_group("a)|(?:b")]
    #[case::comments_the_group_away("(?x)a # b")]
    #[case::unbalanced("(a")]
    #[case::too_large("(?:a{1000}){1000}")]
    #[case::too_long(&"a".repeat(1025))]
    fn a_pattern_that_cannot_be_anchored_is_refused(#[case] pattern: &str) {
        assert!(Pattern::parse(pattern).is_err());
        assert!(!Patterns::default().matches(pattern, "a"));
    }

    #[rstest]
    #[case(".*", true)]
    #[case(".+", true)]
    #[case("(?s).*", true)]
    #[case(r"[^\n]{1,}", true)]
    #[case("|.*", true)]
    #[case(r"\S+", true)]
    #[case("repo:.*", false)]
    #[case(".*acme.*", false)]
    #[case("[a-z]+", false)]
    fn a_pattern_that_says_nothing_is_known(#[case] pattern: &str, #[case] nothing: bool) {
        assert_eq!(Pattern::parse(pattern).unwrap().matches_anything(), nothing);
    }

    proptest! {
        #[test]
        fn an_escaped_text_matches_itself_alone(text in ".{0,40}", other in ".{0,40}") {
            let pattern = Pattern::parse(&regex::escape(&text)).unwrap();
            prop_assert!(pattern.matches(&text));
            prop_assert_eq!(pattern.matches(&other), text == other);
        }

        #[test]
        fn what_parses_never_matches_more_than_its_own_search(
            pattern in r"[ab|().*^$?]{0,12}",
            text in "[ab\n]{0,8}",
        ) {
            if let Ok(parsed) = Pattern::parse(&pattern)
                && parsed.matches(&text)
            {
                prop_assert!(regex::Regex::new(&pattern).unwrap().is_match(&text));
            }
        }
    }
}
