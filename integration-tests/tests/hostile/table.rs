//! Cases, what they expect, and how a table of them is played.

use anyhow::{Context as _, Result, ensure};
use futures::future::LocalBoxFuture;
use roadstead_integration_tests::{Mode, Setup};
use serde_json::Value;

use crate::arena::Arena;
use crate::request::Request;
use crate::wire::Answer;

/// Something hostile with a name.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) play: Play,
}

/// The cases of one kind of attack, and the registry that they are played against.
#[derive(Clone, Copy)]
pub(crate) struct Table {
    pub(crate) cases: fn() -> Vec<Case>,
    setup: fn(Setup) -> Setup,
    growth_kib: u64,
}

/// How much the memory of all processes together may grow over what a warm registry has, in KiB. The largest requests
/// of most tables are manifests of a few times 4 MiB, one at a time.
const FLAT_KIB: u64 = 64 * 1024;

impl Table {
    /// A table for a registry as it comes, whose memory stays flat.
    pub(crate) const fn new(cases: fn() -> Vec<Case>) -> Self {
        Self {
            cases,
            setup: |setup| setup,
            growth_kib: FLAT_KIB,
        }
    }

    /// The same for a registry with other settings.
    pub(crate) const fn with_setup(self, setup: fn(Setup) -> Setup) -> Self {
        Self { setup, ..self }
    }

    /// The same where memory may grow by so many KiB.
    pub(crate) const fn growing(self, growth_kib: u64) -> Self {
        Self { growth_kib, ..self }
    }
}

/// How a case goes.
pub(crate) enum Play {
    /// One request on a connection of its own, and one answer.
    Ask(Request, Expected),
    /// Anything else. What it leaves behind is judged all the same.
    Act(Act, Effect),
}

/// A case in code.
pub(crate) type Act = Box<dyn for<'a> Fn(&'a Arena) -> LocalBoxFuture<'a, Result<()>> + Send + Sync>;

/// What a case may leave behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing at all.
    Nothing,
    /// Upload sessions and what they received, but no content.
    Uploads,
    /// Content, which the case itself looks at.
    Content,
}

/// The answer that a case must get.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) status: u16,
    form: Form,
    pub(crate) effect: Effect,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    /// An error as the distribution specification writes it.
    Oci(&'static str),
    /// The same with a name for clients of OAuth beside it, as everything under `/sts/`.
    Oauth(&'static str),
    /// An answer to HEAD, which has no body to say more.
    Head,
    /// It is no request, so HTTP refuses it before anything of ours sees it: no body, and the connection is over.
    Unreadable,
    /// Harmless: answered as if what is hostile about it were not there.
    Harmless,
}

impl Expected {
    const fn new(status: u16, form: Form) -> Self {
        Self {
            status,
            form,
            effect: Effect::Nothing,
        }
    }

    /// What came in may stay with its upload, so that a client can go on.
    pub(crate) const fn keeping_uploads(self) -> Self {
        Self {
            effect: Effect::Uploads,
            ..self
        }
    }

    /// It comes from the token service.
    pub(crate) const fn in_oauth(self) -> Self {
        match self.form {
            Form::Oci(code) => Self {
                form: Form::Oauth(code),
                ..self
            },
            _ => self,
        }
    }

    /// The case is that it is taken.
    pub(crate) const fn storing(self) -> Self {
        Self {
            effect: Effect::Content,
            ..self
        }
    }

    /// Requires this answer.
    pub(crate) fn check(&self, answer: Option<&Answer>) -> Result<()> {
        let answer =
            answer.with_context(|| format!("closed without an answer instead of {}", self.status))?;
        let text = String::from_utf8_lossy(&answer.body[..answer.body.len().min(600)]);
        ensure!(
            answer.status == self.status,
            "{} instead of {self:?}: {text}",
            answer.status
        );
        match self.form {
            Form::Oci(code) => check_error(answer, code, &["errors"]),
            Form::Oauth(code) => check_error(answer, code, &["error", "error_description", "errors"]),
            Form::Head => {
                ensure!(answer.body.is_empty(), "HEAD has no body");
                check_ours(answer)
            }
            Form::Unreadable => {
                ensure!(answer.body.is_empty(), "what is no request has no body: {text}");
                Ok(())
            }
            Form::Harmless => check_ours(answer),
        }
    }
}

/// An error with this status and code.
pub(crate) const fn oci(status: u16, code: &'static str) -> Expected {
    Expected::new(status, Form::Oci(code))
}

/// An answer to HEAD.
pub(crate) const fn bodiless(status: u16) -> Expected {
    Expected::new(status, Form::Head)
}

/// What is no HTTP.
pub(crate) const fn unreadable(status: u16) -> Expected {
    Expected::new(status, Form::Unreadable)
}

/// What is taken for what it would be without the attack.
pub(crate) const fn harmless(status: u16) -> Expected {
    Expected::new(status, Form::Harmless)
}

/// What every answer of ours carries, whatever it says.
fn check_ours(answer: &Answer) -> Result<()> {
    let once = |name| answer.all(name).count() == 1;
    ensure!(once("x-request-id"), "no request id: {}", answer.head);
    ensure!(
        answer.header("x-content-type-options") == Some("nosniff"),
        "a browser may take it for a page: {}",
        answer.head
    );
    ensure!(
        answer.header("server").is_none() && answer.header("x-powered-by").is_none(),
        "says what serves it"
    );
    match answer.status {
        401 => ensure!(once("www-authenticate"), "401 without a challenge, or with two"),
        405 => ensure!(once("allow"), "405 without Allow"),
        429 | 503 => ensure!(once("retry-after"), "{} without Retry-After", answer.status),
        _ => {}
    }
    Ok(())
}

/// Names and words of an error are for a person to read; whoever sent a megabyte does not get it back.
const LONGEST_ERROR: usize = 4 * 1024;

fn check_error(answer: &Answer, code: &str, expected: &[&str]) -> Result<()> {
    check_ours(answer)?;
    let text = String::from_utf8_lossy(&answer.body);
    ensure!(
        answer.header("content-type") == Some("application/json"),
        "an error is JSON: {}",
        answer.head
    );
    ensure!(
        answer.body.len() <= LONGEST_ERROR,
        "an error of {} bytes",
        answer.body.len()
    );
    let body: Value = serde_json::from_slice(&answer.body)?;
    let members: Vec<&String> = body
        .as_object()
        .into_iter()
        .flat_map(|body| body.keys())
        .collect();
    ensure!(members == expected, "not an error body: {text}");
    let errors = body["errors"].as_array().map_or(&[][..], Vec::as_slice);
    ensure!(errors.len() == 1, "one error at a time: {text}");
    let error = errors[0].as_object().ok_or_else(|| anyhow::anyhow!("{text}"))?;
    ensure!(
        error
            .keys()
            .all(|key| ["code", "message", "detail"].contains(&key.as_str())),
        "members that the specification does not know: {text}"
    );
    ensure!(
        error["code"] == code,
        "{} instead of {code}: {text}",
        error["code"]
    );
    ensure!(
        error["message"]
            .as_str()
            .is_some_and(|message| !message.is_empty()),
        "no message: {text}"
    );
    if let Some(described) = body.get("error_description") {
        ensure!(*described == error["message"], "two descriptions: {text}");
        let name = body["error"].as_str().unwrap_or_default();
        ensure!(!name.is_empty(), "no name for clients of OAuth: {text}");
    }
    Ok(())
}

/// A row with one request.
pub(crate) fn ask(name: impl Into<String>, request: Request, expected: Expected) -> Case {
    Case {
        name: name.into(),
        play: Play::Ask(request, expected),
    }
}

/// A row in code, that may leave nothing behind.
pub(crate) fn act<F>(name: impl Into<String>, act: F) -> Case
where
    F: for<'a> Fn(&'a Arena) -> LocalBoxFuture<'a, Result<()>> + Send + Sync + 'static,
{
    act_leaving(name, Effect::Nothing, act)
}

/// A row in code that may leave something behind.
pub(crate) fn act_leaving<F>(name: impl Into<String>, effect: Effect, act: F) -> Case
where
    F: for<'a> Fn(&'a Arena) -> LocalBoxFuture<'a, Result<()>> + Send + Sync + 'static,
{
    Case {
        name: name.into(),
        play: Play::Act(Box::new(act), effect),
    }
}

/// Plays a table against a registry of its own, and judges the registry afterwards. All failures are told, not only the
/// first.
pub(crate) async fn play(name: &str, mode: Mode, table: Table) -> Result<()> {
    let started = std::time::Instant::now();
    let arena = Arena::start(mode, table.setup).await?;
    let cases = (table.cases)();
    let (count, mut failures) = (cases.len(), Vec::new());
    for case in cases {
        if let Err(error) = Box::pin(arena.play(&case)).await {
            failures.push(format!("  {name}: {}: {error:#}", case.name));
        }
    }
    let faults = arena.judge(table.growth_kib).await?;
    failures.extend(faults.into_iter().map(|what| format!("  {name}: {what}")));
    println!(
        "{name}: {count} cases in {:?}, {}",
        started.elapsed(),
        arena.growth()?
    );
    ensure!(
        failures.is_empty(),
        "{} failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
    arena.stop().await
}
