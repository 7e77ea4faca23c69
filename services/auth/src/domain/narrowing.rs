//! Tokens that are good for less than what their identity was given.

use serde::{Deserialize, Serialize};

use super::{Capability, CapabilitySet, Resource, evaluation::Finding};
use crate::error::Error;

/// More than anybody needs in one token.
const RESOURCES_LIMIT: usize = 32;

/// What a token is narrowed to. Nothing given narrows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Narrowing {
    /// The token is good there only; everywhere when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) resources: Vec<Resource>,
    /// The token has no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) capabilities: Option<CapabilitySet>,
}

impl Narrowing {
    /// Reads what a client asks for. What cannot be read is an error: it must not widen.
    pub(crate) fn parse(resources: &[String], capabilities: &[String]) -> Result<Self, Error> {
        if resources.len() > RESOURCES_LIMIT {
            return Err(Error::argument(format!("more than {RESOURCES_LIMIT} resources")));
        }
        let resources = resources
            .iter()
            .map(|text| {
                Resource::parse(text).map_err(|error| Error::argument(format!("resource {text:?}: {error}")))
            })
            .collect::<Result<_, _>>()?;
        let capabilities = match capabilities {
            [] => None,
            names => Some(
                CapabilitySet::parse(names.iter().map(String::as_str))
                    .map_err(|name| Error::argument(format!("{name:?} is no capability")))?,
            ),
        };
        Ok(Self {
            resources,
            capabilities,
        })
    }

    /// Reads what a token of ours carries. A text that this release cannot read narrows to nothing at all.
    pub(crate) fn from_token(resources: Option<&[String]>, capabilities: Option<&[String]>) -> Option<Self> {
        let resources = resources.unwrap_or_default();
        let capabilities = match capabilities {
            None => None,
            Some(names) => Some(CapabilitySet::parse(names.iter().map(String::as_str)).ok()?),
        };
        Some(Self {
            resources: resources
                .iter()
                .map(|text| Resource::parse(text).ok())
                .collect::<Option<_>>()?,
            capabilities,
        })
    }

    /// The resources as a token carries them; none when everything is meant.
    pub(crate) fn resource_texts(&self) -> Option<Vec<String>> {
        (!self.resources.is_empty()).then(|| self.resources.iter().map(text_of).collect())
    }

    /// The capabilities as a token carries them; none when all are meant.
    pub(crate) fn capability_names(&self) -> Option<Vec<String>> {
        self.capabilities.map(CapabilitySet::names)
    }

    /// Says whether the token is not good for a capability at a resource, and why.
    pub(crate) fn excludes(&self, capability: Capability, resource: &Resource) -> Option<Finding<'_>> {
        if let Some(capabilities) = self.capabilities
            && !capabilities.contains(capability)
        {
            return Some(Finding::NarrowedCapabilities(capabilities));
        }
        let outside = !self.resources.is_empty() && !self.resources.iter().any(|here| here.covers(resource));
        outside.then_some(Finding::NarrowedResources(&self.resources))
    }

    /// What is left of a resource where a role is held: itself, smaller ones within it, or nothing.
    pub(crate) fn within(&self, held: &Resource) -> Vec<Resource> {
        if self.resources.is_empty() || self.resources.iter().any(|here| here.covers(held)) {
            return vec![held.clone()];
        }
        self.resources
            .iter()
            .filter(|here| held.covers(here))
            .cloned()
            .collect()
    }

    /// Narrows further: what `other` asks for must lie within.
    pub(crate) fn intersection(&self, other: &Self) -> Result<Self, Error> {
        let outside = other.resources.iter().find(|resource| {
            !self.resources.is_empty() && !self.resources.iter().any(|here| here.covers(resource))
        });
        if let Some(outside) = outside {
            return Err(Error::argument(format!("the token is not good for {outside}")));
        }
        let resources = if other.resources.is_empty() {
            &self.resources
        } else {
            &other.resources
        };
        let capabilities = match (self.capabilities, other.capabilities) {
            (Some(mine), Some(wanted)) if !wanted.difference(mine).is_empty() => {
                return Err(Error::argument(
                    "the token does not have all of the capabilities".to_owned(),
                ));
            }
            (mine, wanted) => wanted.or(mine),
        };
        Ok(Self {
            resources: resources.clone(),
            capabilities,
        })
    }
}

fn text_of(resource: &Resource) -> String {
    match resource {
        Resource::Group(path) => path.to_string(),
        Resource::Repository(name) => format!("repository:{name}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn narrowing(resources: &[&str], capabilities: &[&str]) -> Narrowing {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        Narrowing::parse(&owned(resources), &owned(capabilities)).unwrap()
    }

    fn excludes(narrowing: &Narrowing, capability: Capability, resource: &str) -> bool {
        narrowing
            .excludes(capability, &Resource::parse(resource).unwrap())
            .is_some()
    }

    #[test]
    fn nothing_given_narrows_nothing() {
        let whole = narrowing(&[], &[]);
        assert!(!excludes(&whole, Capability::RepoPush, "repository:any"));
        assert_eq!(whole.resource_texts(), None);
        assert_eq!(whole.capability_names(), None);
    }

    #[test]
    fn a_narrowed_token_is_good_there_only_and_for_that_only() {
        let narrow = narrowing(&["acme/web", "repository:beta"], &["repo.pull"]);
        for (resource, outside) in [
            ("repository:acme/web", false),
            ("repository:acme/web/x", false),
            ("repository:beta", false),
            ("repository:beta/x", true),
            ("repository:acme", true),
            ("acme", true),
        ] {
            assert_eq!(
                excludes(&narrow, Capability::RepoPull, resource),
                outside,
                "{resource}"
            );
        }
        assert!(excludes(&narrow, Capability::RepoPush, "repository:acme/web"));
    }

    #[test]
    fn it_survives_a_token_and_what_cannot_be_read_is_refused() {
        let narrow = narrowing(&["acme/web", "repository:beta", ""], &["repo.pull", "repo.list"]);
        let (resources, capabilities) = (narrow.resource_texts(), narrow.capability_names());
        let back = Narrowing::from_token(resources.as_deref(), capabilities.as_deref());
        assert_eq!(back, Some(narrow));
        assert_eq!(Narrowing::from_token(Some(&["A".to_owned()]), None), None);
        assert_eq!(Narrowing::from_token(None, Some(&["repo.fly".to_owned()])), None);
        assert!(Narrowing::parse(&["A".to_owned()], &[]).is_err());
        assert!(Narrowing::parse(&[], &["repo.fly".to_owned()]).is_err());
        // No capability at all is not the same as none given.
        let nothing = Narrowing::from_token(None, Some(&[])).unwrap();
        assert!(excludes(&nothing, Capability::RepoPull, "repository:a"));
    }

    #[test]
    fn narrowing_again_never_widens() {
        let narrow = narrowing(&["acme"], &["repo.pull", "repo.push"]);
        let further = narrow
            .intersection(&narrowing(&["acme/web"], &["repo.pull"]))
            .unwrap();
        assert_eq!(further, narrowing(&["acme/web"], &["repo.pull"]));
        assert_eq!(narrow.intersection(&Narrowing::default()).unwrap(), narrow);
        assert!(narrow.intersection(&narrowing(&["beta"], &[])).is_err());
        assert!(narrow.intersection(&narrowing(&[""], &[])).is_err());
        assert!(narrow.intersection(&narrowing(&[], &["repo.delete"])).is_err());
    }

    #[test]
    fn what_is_left_of_a_held_resource() {
        let left = |narrow: &Narrowing, held: &str| {
            let held = Resource::parse(held).unwrap();
            narrow.within(&held).iter().map(text_of).collect::<Vec<_>>()
        };
        let narrow = narrowing(&["acme/web", "beta"], &[]);
        assert_eq!(left(&narrow, ""), ["acme/web", "beta"]);
        assert_eq!(left(&narrow, "acme"), ["acme/web"]);
        assert_eq!(left(&narrow, "beta/x"), ["beta/x"]);
        assert!(left(&narrow, "gamma").is_empty());
        assert_eq!(left(&Narrowing::default(), "gamma"), ["gamma"]);
    }

    fn any_narrowing() -> impl Strategy<Value = Narrowing> {
        let resource = "(repository:)?[ab](/[ab]){0,2}";
        let capability = prop::sample::select(vec!["repo.pull", "repo.push", "groups.list"]);
        (
            prop::collection::vec(resource, 0..3),
            prop::collection::vec(capability, 0..3),
        )
            .prop_map(|(resources, capabilities)| {
                let capabilities: Vec<String> = capabilities.into_iter().map(str::to_owned).collect();
                Narrowing::parse(&resources, &capabilities).unwrap()
            })
    }

    proptest! {
        #[test]
        fn no_text_that_parses_widens(texts in prop::collection::vec("[a-zA-Z/:._-]{0,12}", 1..3)) {
            if let Ok(narrowing) = Narrowing::parse(&texts, &[]) {
                prop_assert_eq!(narrowing.resources.len(), texts.len());
                let resources = narrowing.resource_texts();
                prop_assert_eq!(Narrowing::from_token(resources.as_deref(), None), Some(narrowing));
            }
        }

        #[test]
        fn what_either_excludes_both_exclude(
            mine in any_narrowing(),
            wanted in any_narrowing(),
            resource in "(repository:)?[ab](/[ab]){0,3}",
        ) {
            let Ok(both) = mine.intersection(&wanted) else { return Ok(()) };
            for capability in [Capability::RepoPull, Capability::RepoPush, Capability::GroupsList] {
                let either = excludes(&mine, capability, &resource) || excludes(&wanted, capability, &resource);
                prop_assert_eq!(excludes(&both, capability, &resource), either);
            }
        }

        #[test]
        fn what_is_left_of_a_resource_is_not_excluded(
            narrowing in any_narrowing(),
            held in "(repository:)?[ab](/[ab]){0,2}",
        ) {
            let held = Resource::parse(&held).unwrap();
            for left in narrowing.within(&held) {
                prop_assert!(held.covers(&left));
                let narrow = Narrowing { capabilities: None, ..narrowing.clone() };
                prop_assert!(narrow.excludes(Capability::RepoPull, &left).is_none());
            }
        }
    }
}
