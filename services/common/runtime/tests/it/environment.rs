//! Variables, in an environment of their own.

use figment::Jail;
use roadstead_runtime::{ConfigSources, ConfigTree, RuntimeConfig};

#[test]
#[allow(clippy::result_large_err, reason = "the signature that Jail wants")]
fn variables_win_over_the_file_and_are_checked_like_it() {
    Jail::expect_with(|jail| {
        jail.create_file(
            "roadstead.toml",
            "[runtime]\ndata_dir = '/file'\nlog_filter = 'warn'\n",
        )?;
        jail.set_env("ROADSTEAD__RUNTIME__DATA_DIR", "/variable");
        // Neither prefix: a client's setting, and someone else's.
        jail.set_env("ROADSTEAD_REGISTRY", "localhost:5000");
        jail.set_env("RUNTIME__DATA_DIR", "/other");
        let load = || ConfigTree::load(ConfigSources::from_file(Some("roadstead.toml".into())));
        let runtime: RuntimeConfig = load().expect("loads").section("runtime").expect("valid");
        assert_eq!(
            (runtime.data_dir.to_str(), runtime.log_filter.as_str()),
            (Some("/variable"), "warn")
        );

        jail.set_env("ROADSTEAD__RUNTIME__DATADIR", "/typo");
        jail.set_env("ROADSTEAD__RUNTIM__DATA_DIR", "/typo");
        let error = load()
            .expect("loads")
            .section::<RuntimeConfig>("runtime")
            .expect_err("typos");
        let has = |expected: &str| {
            error
                .problems()
                .iter()
                .any(|problem| problem.starts_with(expected))
        };
        assert!(
            has("runtime.datadir: unknown key, did you mean `data_dir`?"),
            "{error}"
        );
        assert!(has("runtim: unknown section, did you mean `runtime`?"), "{error}");
        assert!(error.to_string().contains("environment"), "{error}");
        Ok(())
    });
}

#[test]
#[allow(clippy::result_large_err, reason = "the signature that Jail wants")]
fn variables_hold_arrays_of_tables() {
    #[derive(Debug, Default, serde::Deserialize)]
    struct Metadata {
        repositories: Vec<std::collections::BTreeMap<String, String>>,
    }
    impl roadstead_runtime::Validate for Metadata {
        fn validate(&self, _: &mut Vec<String>) {}
    }
    Jail::expect_with(|jail| {
        jail.set_env(
            "ROADSTEAD__METADATA__REPOSITORIES",
            r#"[{prefix = "library", note = "a, b"}]"#,
        );
        let tree = ConfigTree::load(ConfigSources::from_file(None)).expect("loads");
        let metadata: Metadata = tree.section("metadata").expect("valid");
        assert_eq!(metadata.repositories[0]["prefix"], "library");
        assert_eq!(metadata.repositories[0]["note"], "a, b");
        Ok(())
    });
}
