//! Suggestions for misspelt keys.

/// Similarity below which a suggestion would confuse more than it helps.
const MINIMUM_SIMILARITY: f64 = 0.6;

/// Returns the candidate most like `name`, if one is like it at all.
pub(super) fn nearest<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    candidates
        .iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), *candidate))
        .filter(|(similarity, _)| *similarity >= MINIMUM_SIMILARITY)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// Words the tail of an "unknown" message: the nearest name, else all of them.
pub(super) fn suggestion(name: &str, candidates: &[&str]) -> String {
    match nearest(name, candidates) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None if candidates.is_empty() => "nothing can be set here".to_owned(),
        None => format!("known are {}", candidates.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_nearest_name_or_lists_all() {
        assert_eq!(nearest("rot", &["root", "redirect"]), Some("root"));
        assert_eq!(
            nearest("pubic_url", &["listen", "public_url"]),
            Some("public_url")
        );
        assert_eq!(nearest("zzz", &["root"]), None);
        assert_eq!(suggestion("zzz", &["root", "kind"]), "known are root, kind");
    }
}
