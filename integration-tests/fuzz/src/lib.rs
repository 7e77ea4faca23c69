//! Every parser of ours that meets foreign input, with what must hold of it whatever the input.
//!
//! "Does not panic" is the least of it. A parser is compared with something that was not derived from it: the grammar of
//! the specification as a regular expression, a reading of the same text by other means, or the writer whose output it
//! reads. What was accepted has one spelling, and survives being written and read again.
//!
//! Parsers that read the same kind of text share a [`Target`] and get every input of it, so that an input found for one
//! serves the others. Parsers with two inputs take the first line and the rest.
//!
//! The same checks run in two ways: instrumented under libFuzzer, by `run`, and over the committed corpus in the ordinary
//! tests (`tests/replay.rs`).

mod configuration;
mod documents;
mod heads;
mod http;
mod names;
mod sealed;
mod tokens;

/// A parser and what must hold of it.
#[derive(Clone, Copy, Debug)]
pub struct Parser {
    /// What it parses.
    pub name: &'static str,
    check: fn(&str),
}

impl Parser {
    /// Panics if the parser does with `input` what it must not. No parser takes bytes that are not UTF-8: what could
    /// not be text is refused before (headers, documents) or is tried as Latin-1 here (sealed values).
    pub fn check(&self, input: &[u8]) {
        match std::str::from_utf8(input) {
            Ok(text) => (self.check)(text),
            Err(_) => (self.check)(&input.iter().copied().map(char::from).collect::<String>()),
        }
    }
}

/// Parsers that read the same kind of text.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// As in `fuzz-<name>` and `corpus/<name>`.
    pub name: &'static str,
    /// The parsers.
    pub parsers: &'static [Parser],
}

impl Target {
    /// Gives the input to each parser.
    ///
    /// # Panics
    ///
    /// When one of them does what it must not.
    pub fn check(&self, input: &[u8]) {
        for parser in self.parsers {
            parser.check(input);
        }
    }
}

/// Names, digests, tags, scopes, ids and keys.
pub const NAMES: Target = Target {
    name: "names",
    parsers: names::PARSERS,
};
/// What stands in the head of a request.
pub const HTTP: Target = Target {
    name: "http",
    parsers: http::PARSERS,
};
/// JSON that clients, services and issuers send.
pub const DOCUMENTS: Target = Target {
    name: "documents",
    parsers: documents::PARSERS,
};
/// Tokens, and what claims and scopes come to.
pub const TOKENS: Target = Target {
    name: "tokens",
    parsers: tokens::PARSERS,
};
/// What travels through the gateway: sealed values, page tokens, deadlines, trace context.
pub const SEALED: Target = Target {
    name: "sealed",
    parsers: sealed::PARSERS,
};
/// What operators and users write.
pub const CONFIGURATION: Target = Target {
    name: "configuration",
    parsers: configuration::PARSERS,
};

/// All of them.
pub const TARGETS: [Target; 6] = [NAMES, HTTP, DOCUMENTS, TOKENS, SEALED, CONFIGURATION];

/// The two inputs of a parser that has two.
fn first_line_and_rest(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

/// Compiles a regular expression that must match a whole text.
fn whole(pattern: &str) -> regex::Regex {
    regex::Regex::new(&format!(r"\A(?s:{pattern})\z")).expect("the pattern is well-formed")
}
