//! What must stand in no answer, no log and no metric.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail, ensure};

use crate::wire::Answer;

/// What no client is ever told: how the registry is made inside.
const INSIDE: [&str; 14] = [
    "sqlite",
    "select ",
    "insert into",
    "constraint",
    "panicked",
    ".rs:",
    "os error",
    "backtrace",
    "tonic",
    "hyper",
    "roadstead_",
    "h2 protocol",
    "grpc-status",
    "poisoned",
];

/// A part of a token that is shorter is nothing particular.
const SHORTEST: usize = 20;

/// The secrets that were used, and whose they are.
pub(crate) struct Secrets {
    known: Mutex<BTreeMap<String, String>>,
    /// Where the registry keeps its files.
    home: String,
}

impl Secrets {
    pub(crate) fn new(home: &Path) -> Self {
        Self {
            known: Mutex::default(),
            home: home.display().to_string(),
        }
    }

    /// Remembers a secret. Of a token only what is particular to it counts, which its header is not.
    pub(crate) fn keep(&self, whose: &str, secret: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let parts: Vec<&str> = match secret.split('.').collect::<Vec<_>>()[..] {
            [_, claims, signature] => vec![claims, signature],
            _ => vec![secret],
        };
        for part in parts.into_iter().filter(|part| part.len() >= SHORTEST) {
            known.entry(part.to_owned()).or_insert_with(|| whose.to_owned());
        }
    }

    /// Requires that a text holds no secret.
    pub(crate) fn check(&self, what: &str, text: &str) -> Result<()> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.iter().find(|(secret, _)| text.contains(secret.as_str())) {
            Some((secret, whose)) => bail!("{what} holds a secret of {whose}: {secret}"),
            None => Ok(()),
        }
    }

    /// Requires that an answer holds no secret, and says nothing about the inside.
    pub(crate) fn check_answer(&self, answer: &Answer) -> Result<()> {
        let text = format!("{}{}", answer.head, String::from_utf8_lossy(&answer.body));
        self.check("the answer", &text)?;
        ensure!(
            !text.contains(&self.home),
            "the answer says where the data is: {text}"
        );
        ensure!(
            !answer.head.contains("evil.example"),
            "a client had itself quoted: {}",
            answer.head
        );
        // What is served from the store is whatever somebody pushed.
        if !(200..300).contains(&answer.status) {
            let lower = text.to_lowercase();
            let word = INSIDE.iter().find(|word| lower.contains(*word));
            ensure!(word.is_none(), "the answer says {word:?}: {text}");
        }
        Ok(())
    }
}
