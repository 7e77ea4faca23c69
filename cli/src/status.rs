//! `roadstead auth status`: who one is, by which issuer, until when, and what one may do.

use roadstead_types::Clock;
use serde_json::{Value, json};

use crate::{
    args::Output,
    cache::{CachedToken, Source, TokenCache},
    error::{Error, printable},
    grpc::AdminApi,
    host::RegistryHost,
    iam::{self, WhoAmI},
    listing::{Shown, print_json},
    registry::Transport,
    when,
};

pub(crate) async fn status(
    host: Option<RegistryHost>,
    offline: bool,
    output: Output,
    cache: &TokenCache,
    clock: &Clock,
) -> Result<(), Error> {
    let logins = match &host {
        Some(host) => vec![cache.load(host)?.ok_or_else(|| Error::NotLoggedIn {
            host: host.to_string(),
            advice: format!("run `roadstead login {host}`"),
        })?],
        None => cache.list()?,
    };
    let last = cache.last_login()?.map(|host| host.to_string());
    let mut answers = Vec::new();
    let mut failure = None;
    for login in logins {
        let answer = if offline {
            Ok(None)
        } else {
            ask(&login, cache, clock).await.map(Some)
        };
        // Asking may have got another token.
        let login = RegistryHost::parse(&login.host)
            .and_then(|host| cache.load(&host))?
            .unwrap_or(login);
        let (answer, problem) = match answer {
            Ok(answer) => (answer, None),
            Err(error) => {
                let problem = error.to_string();
                failure = Some(error);
                (None, Some(problem))
            }
        };
        answers.push(Status {
            is_last: last.as_ref() == Some(&login.host),
            login,
            answer,
            problem,
        });
    }
    let now = clock.unix_seconds();
    match output {
        Output::Json => print_json(&answers.iter().map(Status::json).collect::<Vec<_>>())?,
        Output::Table if answers.is_empty() => println!("No logins. `roadstead login HOST` makes one."),
        Output::Table => {
            let texts: Vec<String> = answers.iter().map(|status| status.text(now)).collect();
            print!("{}", texts.join("\n"));
        }
    }
    // Who asked about one registry wants to know whether it would work; a list is an answer either way.
    match failure {
        Some(error) if host.is_some() => Err(error),
        _ => Ok(()),
    }
}

async fn ask(login: &CachedToken, cache: &TokenCache, clock: &Clock) -> Result<WhoAmI, Error> {
    let host = RegistryHost::parse(&login.host)?;
    let api = AdminApi::connect(cache, clock, &host, &Transport::default()).await?;
    iam::who_am_i(&api).await
}

struct Status {
    is_last: bool,
    login: CachedToken,
    answer: Option<WhoAmI>,
    problem: Option<String>,
}

impl Status {
    fn text(&self, now: i64) -> String {
        let login = &self.login;
        let mut lines = vec![
            if self.is_last {
                format!("{} (where commands go unless told otherwise)", login.host)
            } else {
                login.host.clone()
            },
            format!("  you are    {}", printable(&login.identity.subject)),
            format!("  issuer     {}", printable(&login.identity.issuer)),
            format!("  valid      {}", self.validity(now)),
        ];
        if let Some(answer) = &self.answer {
            let names = answer.identities.iter();
            let names = names.map(|identity| printable(&format!("{} ({})", identity.name, identity.kind)));
            lines.extend(names.map(|name| format!("  identity   {name}")));
            let bindings = answer.bindings.iter();
            let bindings = bindings.map(|binding| printable(&iam::binding_summary(binding)));
            lines.extend(bindings.map(|binding| format!("  you have   {binding}")));
            if answer.bindings.is_empty() {
                lines.push("  you have   nothing but what everybody has".to_owned());
            }
            let limits = answer
                .narrowing
                .resources
                .iter()
                .chain(&answer.narrowing.capabilities);
            let limits: Vec<String> = limits.map(|limit| printable(limit)).collect();
            if !limits.is_empty() {
                lines.push(format!("  only       {}", limits.join(" ")));
            }
        }
        if let Some(problem) = &self.problem {
            lines.push(format!("  unknown    {}", printable(problem)));
        }
        lines.push(String::new());
        lines.join("\n")
    }

    /// Until when, and what happens then.
    fn validity(&self, now: i64) -> String {
        let life = when::life(self.login.expires_at - now);
        match &self.login.source {
            Source::Dev { .. } => format!("{life}, then renewed by the development issuer"),
            Source::IdentityTokenFile { path } => format!("{life}, then renewed from {}", path.display()),
            Source::Ambient { provider } => format!("{life}, then renewed by {provider}"),
            Source::Session {
                refresh_token: Some(_),
                expires_at,
            } if *expires_at > now => {
                let session = when::life(expires_at - now);
                format!("{life}, then renewed; the session ends in {session} unless it is used")
            }
            Source::Session {
                refresh_token: Some(_),
                ..
            } => format!("{life}, then renewed"),
            Source::Session { .. } | Source::IdentityToken => format!("{life}, then a new login is needed"),
        }
    }

    fn json(&self) -> Value {
        let login = &self.login;
        let (renewal, session_ends) = match &login.source {
            Source::Dev { .. } => ("dev", 0),
            Source::IdentityTokenFile { .. } => ("identity-token-file", 0),
            Source::Ambient { .. } => ("provider", 0),
            Source::Session {
                refresh_token: Some(_),
                expires_at,
            } => ("session", *expires_at),
            Source::Session { .. } | Source::IdentityToken => ("login", 0),
        };
        let answer = self.answer.as_ref().map(|answer| {
            json!({
                "identities": answer.identities.iter().map(iam::identity_json).collect::<Vec<_>>(),
                "bindings": answer.bindings.iter().map(Shown::json).collect::<Vec<_>>(),
                "narrowing": {
                    "resources": answer.narrowing.resources,
                    "capabilities": answer.narrowing.capabilities,
                },
            })
        });
        json!({
            "registry": login.host,
            "default": self.is_last,
            "issuer": login.identity.issuer,
            "subject": login.identity.subject,
            "expires_at": when::of_seconds(login.expires_at),
            "renewed_by": renewal,
            "session_expires_at": when::of_seconds(session_ends),
            "you": answer,
            "problem": self.problem,
        })
    }
}
