//! Page sizes and opaque page tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Entries of one page of names when the caller asks for the maximum.
pub(crate) const MAX_PAGE: u32 = 10_000;

/// The size to use for a requested one, where 0 means the maximum.
pub(crate) fn size(requested: u32) -> usize {
    let size = if requested == 0 {
        MAX_PAGE
    } else {
        requested.min(MAX_PAGE)
    };
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// Encodes where a page ended. `list` names the kind of list, so that one list's token does not pass for another's.
pub(crate) fn encode(list: &str, last: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list}:{last}"))
}

/// Gives back what [`encode`] took; an empty token is the start of the list.
pub(crate) fn decode(list: &str, token: &str) -> Option<String> {
    if token.is_empty() {
        return Some(String::new());
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    text.strip_prefix(list)?.strip_prefix(':').map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_only_for_its_own_list() {
        let token = encode("referrers", "sha256:ab");
        assert_eq!(decode("referrers", &token).as_deref(), Some("sha256:ab"));
        assert_eq!(decode("history", &token), None);
        assert_eq!(decode("history", ""), Some(String::new()));
        assert_eq!(decode("history", "%"), None);
    }

    #[test]
    fn zero_asks_for_the_maximum() {
        assert_eq!(size(0), 10_000);
        assert_eq!(size(7), 7);
        assert_eq!(size(u32::MAX), 10_000);
    }
}
