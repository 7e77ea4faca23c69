//! The committed corpus, over every parser, without libFuzzer.

use std::{fs, panic, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use roadstead_fuzz::{TARGETS, Target};

fn corpus(target: &Target) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target.name);
    let entries = fs::read_dir(&directory).with_context(|| directory.display().to_string())?;
    entries
        .map(|entry| {
            let path = entry?.path();
            let content = fs::read(&path)?;
            Ok((path, content))
        })
        .collect()
}

fn replay(target: &Target) -> Result<()> {
    let corpus = corpus(target)?;
    ensure!(!corpus.is_empty(), "no corpus");
    let mut failed = Vec::new();
    for (path, input) in &corpus {
        for parser in target.parsers {
            if panic::catch_unwind(|| parser.check(input)).is_err() {
                failed.push(format!("{}: {}", parser.name, path.display()));
            }
        }
    }
    ensure!(failed.is_empty(), "{failed:#?}");
    Ok(())
}

macro_rules! replayed {
    ($($name:ident: $target:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() -> Result<()> {
                replay(&roadstead_fuzz::$target)
            }
        )*

        #[test]
        fn every_target_is_replayed() {
            let replayed = [$(roadstead_fuzz::$target.name),*];
            assert_eq!(TARGETS.map(|target| target.name), replayed);
        }
    };
}

replayed! {
    names: NAMES,
    http: HTTP,
    documents: DOCUMENTS,
    tokens: TOKENS,
    sealed: SEALED,
    configuration: CONFIGURATION,
}
