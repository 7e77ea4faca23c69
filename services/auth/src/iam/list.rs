//! Lists of what a caller may see, page by page.

use crate::{
    domain::{Resource, page},
    error::Error,
    store::Result,
};

/// What of a list is asked for.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) size: u32,
    pub(crate) token: String,
}

/// Gathers one page of a list that is ordered by key, from those parts of it that a caller may see.
///
/// `list` names the list with what it is restricted to. `spans` are the resources that are looked at; `read` reads one of
/// them in order after a key, at most as many as it is told, and `key` tells where an entry stands. Returns the entries
/// and the token of the next page, empty when there is none.
pub(crate) fn pages<T>(
    list: &str,
    asked: &Page,
    spans: &[Resource],
    mut read: impl FnMut(&Resource, &str, usize) -> Result<Vec<T>>,
    key: impl Fn(&T) -> String,
) -> Result<(Vec<T>, String)> {
    let after = page::decode(list, &asked.token).ok_or(Error::PageTokenInvalid)?;
    let size = page::size(asked.size);
    let mut found: Vec<(String, T)> = Vec::new();
    for span in spans {
        // One more than fits tells whether there is a next page.
        let entries = read(span, &after, size + 1)?;
        found.extend(entries.into_iter().map(|entry| (key(&entry), entry)));
        found.sort_by(|one, other| one.0.cmp(&other.0));
        found.truncate(size + 1);
    }
    let more = found.len() > size;
    found.truncate(size);
    let next = match found.last() {
        Some((last, _)) if more => page::encode(list, last),
        _ => String::new(),
    };
    Ok((found.into_iter().map(|(_, entry)| entry).collect(), next))
}

/// What of a caller's reach lies within a group: the group itself where all of it does.
pub(crate) fn visible(reach: Vec<Resource>, group: &Resource) -> Vec<Resource> {
    if reach.iter().any(|resource| resource.covers(group)) {
        return vec![group.clone()];
    }
    reach
        .into_iter()
        .filter(|resource| group.covers(resource))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(texts: &[&str]) -> Vec<Resource> {
        texts.iter().map(|text| Resource::parse(text).unwrap()).collect()
    }

    /// Names that begin with a span's path, after a key.
    fn read(all: &[&str], span: &Resource, after: &str, limit: usize) -> Vec<String> {
        let within = |name: &&&str| span.covers(&Resource::parse(name).unwrap()) && **name > after;
        let found = all.iter().filter(within).take(limit);
        found.map(ToString::to_string).collect()
    }

    #[test]
    fn pages_join_spans_in_order_and_lose_nothing() {
        let all = ["a", "a/x", "b", "b/x", "b/y", "c", "d/x"];
        let spans = resources(&["b", "a", "d"]);
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let asked = Page { size: 2, token };
            let (entries, next) = pages(
                "names",
                &asked,
                &spans,
                |span, after, limit| Ok(read(&all, span, after, limit)),
                Clone::clone,
            )
            .unwrap();
            assert!(entries.len() <= 2);
            seen.extend(entries);
            if next.is_empty() {
                break;
            }
            token = next;
        }
        assert_eq!(seen, ["a", "a/x", "b", "b/x", "b/y", "d/x"]);
    }

    #[test]
    fn only_what_is_reached_is_visible() {
        let group = |text| Resource::parse(text).unwrap();
        let reach = || resources(&["acme", "beta/web", "repository:beta/api"]);
        assert_eq!(visible(reach(), &group("acme/web")), resources(&["acme/web"]));
        assert_eq!(visible(reach(), &group("")), reach());
        assert_eq!(
            visible(reach(), &group("beta")),
            resources(&["beta/web", "repository:beta/api"])
        );
        assert!(visible(reach(), &group("gamma")).is_empty());
    }
}
