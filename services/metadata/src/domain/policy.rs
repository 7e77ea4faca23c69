//! What configuration says about repositories by prefix.

use roadstead_types::{RepositoryName, RepositoryPrefix};

use crate::config::{Config, ManifestValidation};

#[derive(Debug)]
struct Rule {
    prefix: RepositoryPrefix,
    public: Option<bool>,
    validation: Option<ManifestValidation>,
}

/// The `[[metadata.repositories]]` table. For each property the longest prefix that sets it wins.
#[derive(Debug)]
pub(crate) struct Policy {
    /// Longest prefix first.
    rules: Vec<Rule>,
    default_validation: ManifestValidation,
}

impl Policy {
    pub(crate) fn new(config: &Config) -> Self {
        let mut rules: Vec<Rule> = config
            .repositories
            .iter()
            .filter_map(|entry| {
                let prefix = RepositoryPrefix::parse(&entry.prefix).ok()?;
                Some(Rule {
                    prefix,
                    public: entry.public,
                    validation: entry.manifest_validation,
                })
            })
            .collect();
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.prefix.as_str().len()));
        Self {
            rules,
            default_validation: config.manifest_validation,
        }
    }

    pub(crate) fn is_public(&self, name: &RepositoryName) -> bool {
        let mut matching = self.rules.iter().filter(|rule| rule.prefix.contains(name));
        matching.find_map(|rule| rule.public).unwrap_or(false)
    }

    pub(crate) fn validation(&self, name: &RepositoryName) -> ManifestValidation {
        let mut matching = self.rules.iter().filter(|rule| rule.prefix.contains(name));
        matching
            .find_map(|rule| rule.validation)
            .unwrap_or(self.default_validation)
    }

    /// Prefixes that say whether they are public, longest first.
    pub(crate) fn visibility(&self) -> impl Iterator<Item = (&RepositoryPrefix, bool)> {
        self.rules
            .iter()
            .filter_map(|rule| Some((&rule.prefix, rule.public?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RepositoryConfig;

    fn name(text: &str) -> RepositoryName {
        RepositoryName::parse(text).unwrap()
    }

    #[test]
    fn each_property_comes_from_the_longest_prefix_that_sets_it() {
        let entry = |prefix: &str, public, manifest_validation| RepositoryConfig {
            prefix: prefix.to_owned(),
            public,
            manifest_validation,
        };
        let policy = Policy::new(&Config {
            repositories: vec![
                entry("mirror", Some(true), Some(ManifestValidation::Lenient)),
                entry("mirror/inner", Some(false), None),
                entry("mirror/inner/open", Some(true), Some(ManifestValidation::Strict)),
            ],
            ..Config::default()
        });
        assert!(policy.is_public(&name("mirror")));
        assert!(policy.is_public(&name("mirror/a")));
        assert!(!policy.is_public(&name("mirrors")));
        assert!(!policy.is_public(&name("mirror/inner/a")));
        assert!(policy.is_public(&name("mirror/inner/open")));
        assert_eq!(
            policy.validation(&name("mirror/inner/a")),
            ManifestValidation::Lenient
        );
        assert_eq!(
            policy.validation(&name("mirror/inner/open")),
            ManifestValidation::Strict
        );
        assert_eq!(policy.validation(&name("other")), ManifestValidation::Strict);
    }
}
