//! What configuration says about repositories by prefix.

use roadstead_types::{RepositoryName, RepositoryPrefix};

use crate::config::{Config, ManifestValidation};

#[derive(Debug)]
struct Rule {
    prefix: RepositoryPrefix,
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

    pub(crate) fn validation(&self, name: &RepositoryName) -> ManifestValidation {
        let mut matching = self.rules.iter().filter(|rule| rule.prefix.contains(name));
        matching
            .find_map(|rule| rule.validation)
            .unwrap_or(self.default_validation)
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
        let entry = |prefix: &str, manifest_validation| RepositoryConfig {
            prefix: prefix.to_owned(),
            manifest_validation,
        };
        let policy = Policy::new(&Config {
            repositories: vec![
                entry("mirror", Some(ManifestValidation::Lenient)),
                entry("mirror/inner", None),
                entry("mirror/inner/open", Some(ManifestValidation::Strict)),
            ],
            ..Config::default()
        });
        assert_eq!(policy.validation(&name("mirror")), ManifestValidation::Lenient);
        assert_eq!(policy.validation(&name("mirrors")), ManifestValidation::Strict);
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
