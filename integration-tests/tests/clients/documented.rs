//! Every block of shell in the README and the guides works as written, one after the other, by a user who has just run
//! `quickstart`. A block that cannot run here says why in the line before it, `<!-- not run: REASON -->`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use roadstead_integration_tests::programs;

use crate::next_commands::{CLIENTS, Newcomer};

const MARK: &str = "<!-- not run: ";

/// A block of shell.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    /// Of its first line, from 1.
    line: usize,
    text: String,
    /// Why it is not run, if it is not.
    not_run: Option<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_blocks_of_readme_and_guides_run() -> Result<()> {
    let newcomer = Newcomer::start().await?;
    // `cargo install` puts the program into a directory of the PATH, and the helper goes beside it.
    let bin = newcomer.home.scratch().join("bin");
    std::fs::create_dir(&bin)?;
    std::fs::copy(programs::ours("roadstead")?, bin.join("roadstead"))?;
    // The sandbox moves the clients' configuration; a user's is where the helper is written to.
    let prefix = format!(
        "unset REGISTRY_AUTH_FILE DOCKER_CONFIG; export PATH='{}':\"$PATH\";",
        bin.display()
    );
    let (mut run, mut left) = (Vec::new(), 0);
    for document in documents()? {
        let name = document
            .strip_prefix(programs::repository())?
            .display()
            .to_string();
        for block in blocks(&std::fs::read_to_string(&document)?)? {
            if let Some(reason) = &block.not_run {
                println!("{name}:{}: not run: {reason}", block.line);
                left += 1;
                continue;
            }
            let text = block
                .text
                .replace("localhost:5000", &format!("localhost:{}", newcomer.port));
            newcomer
                .types(&prefix, &text)
                .await
                .with_context(|| format!("{name}:{}", block.line))?;
            run.push(block.text);
        }
    }
    println!("{} blocks run, {left} not run", run.len());
    for client in CLIENTS {
        let shown = run
            .iter()
            .flat_map(|block| block.lines())
            .any(|line| line.starts_with(client));
        ensure!(shown, "no block uses {client}");
    }
    newcomer.leave().await
}

/// The README, and the guides in the order of their names.
fn documents() -> Result<Vec<PathBuf>> {
    let guides = programs::repository().join("docs/guides");
    let mut documents = Vec::new();
    for entry in std::fs::read_dir(&guides).with_context(|| format!("read {}", guides.display()))? {
        documents.push(entry?.path());
    }
    documents.sort();
    documents.insert(0, programs::repository().join("README.md"));
    Ok(documents)
}

fn blocks(document: &str) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut mark = None;
    let mut lines = document.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(fence) = line.trim_start().strip_prefix("```") {
            let text: Vec<&str> = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| line.trim() != "```")
                .collect();
            ensure!(
                fence != "console",
                "line {}: say sh, and only what is typed",
                number + 1
            );
            if fence == "sh" {
                blocks.push(Block {
                    line: number + 2,
                    text: text.join("\n"),
                    not_run: mark.take(),
                });
            }
        }
        mark = line
            .trim()
            .strip_prefix(MARK)
            .and_then(|rest| rest.strip_suffix(" -->"))
            .map(str::to_owned);
        ensure!(
            mark.as_deref() != Some(""),
            "line {}: a mark without a reason",
            number + 1
        );
    }
    Ok(blocks)
}

#[test]
fn a_mark_counts_for_the_next_block_alone() -> Result<()> {
    let document = "text\n```sh\none\ntwo\n```\n<!-- not run: because -->\n```sh\nthree\n```\n```toml\nx\n```\n```sh\nfour\n```\n";
    let block = |line, text: &str, not_run: Option<&str>| Block {
        line,
        text: text.to_owned(),
        not_run: not_run.map(str::to_owned),
    };
    let expected = [
        block(3, "one\ntwo", None),
        block(8, "three", Some("because")),
        block(14, "four", None),
    ];
    assert_eq!(blocks(document)?, expected);
    assert!(blocks("<!-- not run:  -->\n```sh\nx\n```").is_err());
    assert!(blocks("```console\n$ x\n```").is_err());
    Ok(())
}
