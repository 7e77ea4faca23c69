//! The tool works: everything is measured with small sizes, and what is missing is named.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result};
use serde_json::Value;

fn bench(arguments: &[&str]) -> Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_roadstead-bench"))
        .args(["--seconds", "0.2", "--repeats", "1", "--large", "1048576"])
        .args(["--few-tags", "200", "--many-tags", "300", "--identities", "100"])
        .args(arguments)
        .output()
        .context("run the tool")
}

#[test]
fn every_case_has_a_figure_for_each_peer_that_can() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let json = directory.path().join("report.json");
    let (data, file) = (directory.path().display().to_string(), json.display().to_string());
    let output = bench(&["--peers", "roadstead,nginx", "--data", &data, "--json", &file])?;
    let (table, errors) = (
        String::from_utf8(output.stdout)?,
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(0), "{table}{errors}");
    assert_eq!(
        processes_with_files_in(directory.path()),
        Vec::<String>::new(),
        "left behind"
    );

    let report: Value = serde_json::from_slice(&std::fs::read(json)?)?;
    let rows = report["rows"].as_array().context("rows")?;
    assert_eq!(rows.len(), 2 * 13, "13 cases and two peers");
    let mut without = 0;
    for row in rows {
        let title = row["title"].as_str().context("a title")?;
        assert!(table.contains(title), "{title} is not in\n{table}");
        if !row["lacks"].is_null() {
            assert_eq!(row["peer"], "nginx", "the registry can do everything: {row}");
            without += 1;
            continue;
        }
        let (figures, best) = (&row["figures"], &row["figures"]["best"]);
        for value in [
            &figures["cpu"],
            &figures["alone"],
            &best["requests_per_second"],
            &best["p50"],
            &best["p99"],
        ] {
            assert!(value.as_f64().is_some_and(|value| value > 0.0), "{row}");
        }
    }
    assert_eq!(without, 5, "nginx takes no pushes and gives no tokens");
    for peer in report["peers"].as_array().context("peers")? {
        assert!(peer["idle"]["resident"].as_u64() > Some(0), "{peer}");
        assert!(
            peer["loaded"]["peak"].as_u64() >= peer["loaded"]["resident"].as_u64(),
            "{peer}"
        );
    }
    Ok(())
}

#[test]
fn a_peer_that_is_missing_is_named_with_the_command_that_gets_it() -> Result<()> {
    let arguments = ["--peers", "distribution-v3,nginx", "--only", "get-manifest-tag"];
    let output = bench(&[&arguments[..], &["--distribution", "/nowhere/registry"]].concat())?;
    let table = String::from_utf8(output.stdout)?;
    assert_eq!(output.status.code(), Some(3), "{table}");
    assert!(
        table.contains("go install github.com/distribution/distribution/v3"),
        "{table}"
    );
    Ok(())
}

/// What still has a file under a directory open, removed ones included.
fn processes_with_files_in(directory: &Path) -> Vec<String> {
    let open = |process: &PathBuf| {
        let files = std::fs::read_dir(process.join("fd")).into_iter().flatten();
        files
            .filter_map(|file| std::fs::read_link(file.ok()?.path()).ok())
            .any(|file| file.starts_with(directory))
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten();
    processes
        .filter_map(|process| Some(process.ok()?.path()))
        .filter(open)
        .map(|process| std::fs::read_to_string(process.join("comm")).unwrap_or_default())
        .collect()
}
