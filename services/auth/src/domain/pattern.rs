//! Patterns of subjects.

use regex::{Regex, RegexBuilder};

/// Compiled patterns are bounded, because configuration may be generated from what users enter elsewhere.
const COMPILED_LIMIT: usize = 1 << 20;

/// A regular expression that must match a whole subject.
#[derive(Clone, Debug)]
pub(crate) struct SubjectPattern(Regex);

impl SubjectPattern {
    pub(crate) fn parse(pattern: &str) -> Result<Self, regex::Error> {
        // On its own first: `a)|(?:b` becomes well-formed, and loses its anchors, only inside the group below.
        compile(pattern)?;
        compile(&format!(r"\A(?:{pattern})\z")).map(Self)
    }

    pub(crate) fn matches(&self, subject: &str) -> bool {
        self.0.is_match(subject)
    }
}

fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(COMPILED_LIMIT).build()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::SubjectPattern;

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
    fn a_pattern_matches_whole_subjects(#[case] pattern: &str, #[case] subject: &str, #[case] matches: bool) {
        assert_eq!(SubjectPattern::parse(pattern).unwrap().matches(subject), matches);
    }

    #[rstest]
    #[case::escapes_the_group("a)|(?:b")]
    #[case::comments_the_group_away("(?x)a # b")]
    #[case::unbalanced("(a")]
    #[case::too_large("(?:a{1000}){1000}")]
    fn a_pattern_that_cannot_be_anchored_is_refused(#[case] pattern: &str) {
        assert!(SubjectPattern::parse(pattern).is_err());
    }

    proptest! {
        #[test]
        fn an_escaped_subject_matches_itself_alone(subject in ".{0,40}", other in ".{0,40}") {
            let pattern = SubjectPattern::parse(&regex::escape(&subject)).unwrap();
            prop_assert!(pattern.matches(&subject));
            prop_assert_eq!(pattern.matches(&other), subject == other);
        }

        #[test]
        fn what_parses_never_matches_more_than_its_own_search(
            pattern in r"[ab|().*^$?]{0,12}",
            subject in "[ab\n]{0,8}",
        ) {
            if let Ok(parsed) = SubjectPattern::parse(&pattern)
                && parsed.matches(&subject)
            {
                prop_assert!(regex::Regex::new(&pattern).unwrap().is_match(&subject));
            }
        }
    }
}
