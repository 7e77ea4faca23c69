//! Page sizes and opaque page tokens.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Entries of a page when the caller does not say how many.
const DEFAULT_SIZE: u32 = 100;
/// The most entries of a page.
const MAX_SIZE: u32 = 1000;

/// The number of entries to give for the number that was asked for.
pub(crate) fn size(requested: u32) -> usize {
    let size = if requested == 0 {
        DEFAULT_SIZE
    } else {
        requested.min(MAX_SIZE)
    };
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// Encodes where a page ended. `list` names the list with what it was restricted to, so that one list's token does not
/// pass for another's.
pub(crate) fn encode(list: &str, last: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list}\0{last}"))
}

/// Gives back what [`encode`] took; an empty token is the start of the list.
pub(crate) fn decode(list: &str, token: &str) -> Option<String> {
    if token.is_empty() {
        return Some(String::new());
    }
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    text.strip_prefix(list)?.strip_prefix('\0').map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_only_for_its_own_list() {
        let token = encode("groups acme", "acme/web");
        assert_eq!(decode("groups acme", &token), Some("acme/web".to_owned()));
        assert_eq!(decode("groups", &token), None);
        assert_eq!(decode("roles acme", &token), None);
        assert_eq!(decode("groups acme", ""), Some(String::new()));
        assert_eq!(decode("groups acme", "%"), None);
    }

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(size(0), 100);
        assert_eq!(size(7), 7);
        assert_eq!(size(u32::MAX), 1000);
    }
}
