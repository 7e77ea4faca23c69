//! The conformance suite of the distribution specification, with token authentication.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use roadstead_integration_tests::process::run;
use roadstead_integration_tests::{Cluster, Mode, in_both_modes, programs};

in_both_modes!(
    the_released_specification,
    the_coming_specification_with_sparse_manifests,
);

const LIMIT: Duration = Duration::from_mins(5);

/// What the suite counted.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    tests: u32,
    failed: u32,
    errors: u32,
    skipped: u32,
    disabled: u32,
}

/// Two of the released version's tests are of what is new since, so the suite disables them.
///
/// Published results of registries that know no anonymous mount are 4 tests shorter: where the suite skips the mount of
/// a blob (once for each of two digest algorithms), it does not look for the blob with HEAD and GET either.
async fn the_released_specification(mode: Mode) -> Result<()> {
    let counts = conformance(mode, "1.1", "false").await?;
    assert_eq!(
        counts,
        Counts {
            tests: 862,
            failed: 0,
            errors: 0,
            skipped: 0,
            disabled: 2
        }
    );
    Ok(())
}

async fn the_coming_specification_with_sparse_manifests(mode: Mode) -> Result<()> {
    let counts = conformance(mode, "dev", "true").await?;
    assert_eq!(
        counts,
        Counts {
            tests: 1032,
            failed: 0,
            errors: 0,
            skipped: 0,
            disabled: 0
        }
    );
    Ok(())
}

async fn conformance(mode: Mode, version: &str, sparse: &str) -> Result<Counts> {
    let cluster = Cluster::setup(mode).lenient().start().await?;
    let token = cluster.access_token().await?;
    let results = cluster.home().scratch().join("conformance");
    std::fs::create_dir(&results)?;
    let address = cluster.address();
    let directory = results.display().to_string();
    let environment: Vec<(String, String)> = [
        ("OCI_VERSION", version),
        ("OCI_DATA_SPARSE", sparse),
        ("OCI_REGISTRY", &address),
        ("OCI_TLS", "disabled"),
        ("OCI_REPO1", "conformance/one"),
        ("OCI_REPO2", "conformance/two"),
        ("OCI_USERNAME", "_token"),
        ("OCI_PASSWORD", &token),
        ("OCI_RESULTS_DIR", &directory),
        ("OCI_LOG", "warn"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let outcome = run(
        &programs::theirs("conformance")?,
        [""; 0],
        &environment,
        None,
        LIMIT,
    )
    .await;
    let junit = std::fs::read_to_string(results.join("junit.xml"));
    let counts = match (&outcome, junit) {
        (_, Ok(junit)) => counts(&junit)?,
        (Err(error), Err(_)) => anyhow::bail!("the suite gave no results: {error:#}"),
        (Ok(_), Err(error)) => return Err(error).context("the suite gave no results"),
    };
    keep(&results, mode, version)?;
    println!("{mode:?} {version}: {counts:?}");
    if let Err(error) = outcome {
        println!("{}", failures(&error.to_string()));
    }
    cluster.stop().await?;
    Ok(counts)
}

/// The counts on the outermost element. The suite leaves out attributes that are zero.
fn counts(junit: &str) -> Result<Counts> {
    let element = junit
        .split_once("<testsuite ")
        .and_then(|(_, rest)| rest.split_once('>'))
        .context("no test suite")?
        .0;
    let attribute = |name: &str| -> Result<Option<u32>> {
        let Some((_, rest)) = element.split_once(&format!("{name}=\"")) else {
            return Ok(None);
        };
        let value = rest.split('"').next().unwrap_or_default();
        Ok(Some(
            value
                .parse()
                .with_context(|| format!("{name}=\"{value}\" is no number"))?,
        ))
    };
    let tests = attribute("tests")?.context("no number of tests")?;
    ensure!(tests > 0, "the suite ran nothing");
    let or_zero = |name: &str| attribute(name).map(Option::unwrap_or_default);
    Ok(Counts {
        tests,
        failed: or_zero("failures")?,
        errors: or_zero("errors")?,
        skipped: or_zero("skipped")?,
        disabled: or_zero("disabled")?,
    })
}

/// The lines of the suite's output that are worth reading.
fn failures(output: &str) -> String {
    let bad = ["FAIL", "Error", "Skip"];
    output
        .lines()
        .filter(|line| bad.iter().any(|word| line.contains(word)))
        .take(60)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Keeps the report where the caller asked for it.
fn keep(results: &Path, mode: Mode, version: &str) -> Result<()> {
    let Some(directory) = std::env::var_os("ROADSTEAD_REPORTS") else {
        return Ok(());
    };
    let target = Path::new(&directory).join(format!("conformance-{version}-{mode:?}"));
    roadstead_integration_tests::cluster::copy_tree(results, &target)
}

#[test]
fn missing_attributes_count_zero() -> Result<()> {
    let junit = r#"<testsuites tests="9"><testsuite name="x" tests="5" failures="2" errors="0" skipped="1"><testcase/>"#;
    assert_eq!(
        counts(junit)?,
        Counts {
            tests: 5,
            failed: 2,
            errors: 0,
            skipped: 1,
            disabled: 0
        }
    );
    assert!(counts(r#"<testsuite tests="0">"#).is_err());
    Ok(())
}
