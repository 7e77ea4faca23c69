//! Sources, suggestions, and reporting every problem at once.

use std::time::Duration;

use roadstead_runtime::{ConfigSources, ConfigTree, RpcConfig, RuntimeConfig, Validate};
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Blobs {
    root: Option<String>,
    part_size: u64,
    s3: S3,
    mirrors: Vec<Mirror>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct S3 {
    bucket: Option<String>,
    secret_key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mirror {
    prefix: String,
    #[serde(default)]
    public: bool,
}

impl Validate for Blobs {
    fn validate(&self, problems: &mut Vec<String>) {
        if self.root.is_none() {
            problems.push("root: is required".to_owned());
        }
    }
}

fn file(text: &str) -> (tempfile::TempDir, ConfigSources) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("roadstead.toml");
    std::fs::write(&path, text).expect("writing the file");
    (
        dir,
        ConfigSources {
            file: Some(path),
            ..ConfigSources::default()
        },
    )
}

fn problems(text: &str) -> Vec<String> {
    let (_dir, sources) = file(text);
    let tree = ConfigTree::load(sources).expect("well-formed TOML");
    tree.section::<Blobs>("blobs")
        .expect_err("has problems")
        .problems()
        .to_vec()
}

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let (_dir, mut sources) = file("[runtime]\ndata_dir = '/file'\nshutdown_grace = '7s'\n");
    sources
        .overrides
        .push(("runtime.data_dir".to_owned(), "/flag".into()));
    let runtime: RuntimeConfig = ConfigTree::load(sources)
        .expect("loads")
        .section("runtime")
        .expect("valid");
    assert_eq!(runtime.data_dir.to_str(), Some("/flag"));
    assert_eq!(runtime.shutdown_grace, Duration::from_secs(7));
    assert_eq!(runtime.drain_delay, RuntimeConfig::default().drain_delay);
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_name_and_its_file() {
    let problems = problems("[blobs]\nroot = 'x'\npart_siz = 5\n");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].starts_with("blobs.part_siz: unknown key, did you mean `part_size`?"),
        "{problems:?}"
    );
    assert!(problems[0].contains("roadstead.toml"), "{problems:?}");
}

#[test]
fn all_problems_are_reported_together_at_every_depth() {
    let problems = problems(
        "[blob]\nroot = 'y'\n[blobs]\nroot = 7\npart_size = 'big'\n[blobs.s3]\nbuket = 'b'\n\
         [[blobs.mirrors]]\nprefix = 'a'\n[[blobs.mirrors]]\nprefx = 'b'\n",
    );
    let expect = [
        "blob: unknown section, did you mean `blobs`?",
        "blobs.mirrors.1.prefx: unknown key, did you mean `prefix`?",
        "blobs.part_size: expected u64, found a string",
        "blobs.root: expected a string, found an integer",
        "blobs.s3.buket: unknown key, did you mean `bucket`?",
    ];
    for expected in expect {
        assert!(
            problems.iter().any(|problem| problem.starts_with(expected)),
            "{expected} in {problems:#?}"
        );
    }
    // The root that was refused is not called missing as well; the mirror without its prefix is.
    assert!(
        !problems
            .iter()
            .any(|problem| problem.contains("root: is required")),
        "{problems:#?}"
    );
    assert!(
        problems
            .iter()
            .any(|problem| problem.contains("`prefix` is missing")),
        "{problems:#?}"
    );
}

#[test]
fn other_sections_are_ignored_and_read_ones_are_validated() {
    let (_dir, sources) = file("[gateway]\nwhatever = 1\n[blobs]\n");
    let tree = ConfigTree::load(sources).expect("loads");
    let error = tree.section::<Blobs>("blobs").expect_err("invalid");
    assert_eq!(error.problems(), ["blobs.root: is required"]);
}

#[test]
fn services_are_only_reached_over_tls() {
    let tree = ConfigTree::load(ConfigSources::default()).expect("loads");
    let tree = tree.with("rpc.endpoints.auth", "http://127.0.0.1:7001");
    let error = tree.section::<RpcConfig>("rpc").expect_err("plain text");
    assert!(
        error.problems()[0].starts_with("rpc.endpoints.auth: must be https://"),
        "{error}"
    );
}

#[test]
fn printing_hides_secrets_and_shows_where_they_are_kept() {
    let (_dir, sources) =
        file("[blobs]\nseal_key_file = '/run/seal'\n[blobs.s3]\nbucket = 'b'\nsecret_key = 'hunter2'\n");
    let tree = ConfigTree::load(sources).expect("loads");
    for text in [tree.redacted(), format!("{tree:?}")] {
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("***") && text.contains("/run/seal"), "{text}");
    }
}

#[test]
fn a_misplaced_secret_is_not_repeated_in_the_message() {
    let problems = problems("[blobs]\nroot = 'x'\npart_size = 'hunter2'\n");
    assert!(
        !problems.iter().any(|problem| problem.contains("hunter2")),
        "{problems:?}"
    );
}

#[test]
fn a_missing_or_broken_file_is_an_error() {
    let missing = ConfigSources {
        file: Some("/nowhere/at/all.toml".into()),
        ..ConfigSources::default()
    };
    assert!(ConfigTree::load(missing).is_err());
    let (_dir, broken) = file("[blobs\n");
    assert!(ConfigTree::load(broken).is_err());
}

#[test]
fn nested_values_read_back() {
    let (_dir, sources) = file(
        "[blobs]\nroot = 'r'\npart_size = 9\n[blobs.s3]\nbucket = 'b'\nsecret_key = 's'\n\
         [[blobs.mirrors]]\nprefix = 'a'\npublic = true\n",
    );
    let blobs: Blobs = ConfigTree::load(sources)
        .expect("loads")
        .section("blobs")
        .expect("valid");
    assert_eq!((blobs.root.as_deref(), blobs.part_size), (Some("r"), 9));
    assert_eq!(
        (blobs.s3.bucket.as_deref(), blobs.s3.secret_key.as_deref()),
        (Some("b"), Some("s"))
    );
    assert!(blobs.mirrors[0].prefix == "a" && blobs.mirrors[0].public);
}
