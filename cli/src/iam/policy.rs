//! `roadstead iam explain` and `roadstead iam test`: why, and what if.

use std::io::IsTerminal as _;

use roadstead_proto::auth::v1::{
    Binding, ExplainRequest, Explanation, IdentitySummary, Narrowing, TestClaimsRequest, WhoAmIRequest,
    policy_service_client::PolicyServiceClient,
};
use roadstead_types::Clock;
use serde_json::{Value, json};

use super::{identity_json, read_claims};
use crate::{
    args::{Explain, Output, Test},
    cache::TokenCache,
    error::{Error, printable},
    grpc::AdminApi,
    listing::print_json,
};

/// Who the registry says that one is.
pub(crate) struct WhoAmI {
    pub(crate) identities: Vec<IdentitySummary>,
    pub(crate) bindings: Vec<Binding>,
    pub(crate) narrowing: Narrowing,
}

pub(crate) async fn who_am_i(api: &AdminApi) -> Result<WhoAmI, Error> {
    let mut client = PolicyServiceClient::with_origin(api.channel(), api.origin());
    let answer = api.answer("WhoAmI", client.who_am_i(WhoAmIRequest {}).await)?;
    Ok(WhoAmI {
        identities: answer.identities,
        bindings: answer.bindings,
        narrowing: answer.narrowing.unwrap_or_default(),
    })
}

/// Whether the caller may do something to a repository.
pub(crate) async fn may(api: &AdminApi, repository: &str, action: &str) -> Result<bool, Error> {
    let request = ExplainRequest {
        repository: repository.to_owned(),
        action: action.to_owned(),
        ..ExplainRequest::default()
    };
    Ok(explanation(api, request).await?.allowed)
}

pub(super) async fn explain(flags: Explain, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    let claims = flags.claims.as_deref().map(read_claims).transpose()?;
    let request = ExplainRequest {
        identity: flags.identity,
        repository: flags.repo,
        action: flags.action,
        claims_json: claims.unwrap_or_default(),
    };
    let api = AdminApi::open(flags.asking.remote, cache, clock).await?;
    print(flags.asking.output, &explanation(&api, request).await?)
}

pub(super) async fn test(flags: Test, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    let request = TestClaimsRequest {
        claims_json: read_claims(&flags.claims)?,
        repository: flags.repo,
        action: flags.action,
    };
    let api = AdminApi::open(flags.asking.remote, cache, clock).await?;
    let mut client = PolicyServiceClient::with_origin(api.channel(), api.origin());
    let answer = api.answer("TestClaims", client.test_claims(request).await)?;
    let explanation = answer.explanation.unwrap_or_default();
    print(flags.asking.output, &explanation)?;
    if explanation.allowed {
        return Ok(());
    }
    Err(Error::DoesNotHold(
        "a token with these claims would be refused".to_owned(),
    ))
}

async fn explanation(api: &AdminApi, request: ExplainRequest) -> Result<Explanation, Error> {
    let mut client = PolicyServiceClient::with_origin(api.channel(), api.origin());
    let answer = api.answer("Explain", client.explain(request).await)?;
    Ok(answer.explanation.unwrap_or_default())
}

fn print(output: Output, explanation: &Explanation) -> Result<(), Error> {
    match output {
        Output::Json => print_json(&as_json(explanation)),
        Output::Table => {
            print!("{}", text(explanation, std::io::stdout().is_terminal()));
            Ok(())
        }
    }
}

fn as_json(explanation: &Explanation) -> Value {
    let steps = explanation.steps.iter();
    let steps =
        steps.map(|step| json!({ "holds": step.holds, "subject": step.subject, "finding": step.finding }));
    json!({
        "allowed": explanation.allowed,
        "summary": explanation.summary,
        "capability": explanation.capability,
        "repository": explanation.repository,
        "identities": explanation.identities.iter().map(identity_json).collect::<Vec<_>>(),
        "steps": steps.collect::<Vec<_>>(),
        "next_commands": explanation.next_commands,
    })
}

/// The verdict, what was looked at, and what would change it. Colours only tell again what the words say.
fn text(explanation: &Explanation, colours: bool) -> String {
    let paint = |good: bool, text: &str| match (colours, good) {
        (false, _) => text.to_owned(),
        (true, true) => format!("\u{1b}[32m{text}\u{1b}[0m"),
        (true, false) => format!("\u{1b}[31m{text}\u{1b}[0m"),
    };
    let verdict = if explanation.allowed { "allowed" } else { "denied" };
    let mut lines = vec![
        format!(
            "{}: {} on {}",
            paint(explanation.allowed, verdict),
            printable(&explanation.capability),
            printable(&explanation.repository),
        ),
        printable(&explanation.summary),
    ];
    if !explanation.steps.is_empty() {
        lines.push(String::new());
    }
    for step in &explanation.steps {
        let mark = paint(step.holds, if step.holds { "+" } else { "-" });
        lines.push(format!("  {mark} {}", printable(&step.subject)));
        lines.push(format!("      {}", printable(&step.finding)));
    }
    if !explanation.next_commands.is_empty() {
        lines.extend([String::new(), "Try:".to_owned()]);
    }
    let commands = explanation.next_commands.iter();
    lines.extend(commands.map(|command| format!("  {}", printable(command))));
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use roadstead_proto::auth::v1::{Explanation, Step};

    use super::text;

    #[test]
    fn an_explanation_is_read_from_top_to_bottom() {
        let explanation = Explanation {
            allowed: false,
            summary: "no binding".to_owned(),
            capability: "repo.push".to_owned(),
            repository: "acme/web".to_owned(),
            steps: vec![Step {
                holds: false,
                subject: "identity acme/ci\u{1b}[2J".to_owned(),
                finding: "matches".to_owned(),
            }],
            next_commands: vec!["roadstead iam bindings create".to_owned()],
            ..Explanation::default()
        };
        assert_eq!(
            text(&explanation, false),
            "denied: repo.push on acme/web\nno binding\n\n  - identity acme/ci [2J\n      matches\n\nTry:\n  roadstead iam bindings create\n"
        );
        assert!(text(&explanation, true).starts_with("\u{1b}[31mdenied\u{1b}[0m: "));
    }
}
