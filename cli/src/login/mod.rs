//! From an identity to an access token, and from one access token to the next.
//!
//! A registry started with `--dev` on this machine proves its user by a file only that user can read. A machine is known
//! by the identity token that its surroundings give it. A person logs in to an OIDC issuer that the registry trusts.
//! Whatever it is, the identity token is exchanged at `/sts/exchange`. A person's login also gives a refresh token, which
//! is replaced each time it is used; everything else is asked again.

mod dev;
pub(crate) mod exchange;
mod identity_token;

use std::{fs, io::IsTerminal as _, path::Path};

use roadstead_types::Clock;

use crate::{
    ambient::Provider,
    cache::{CachedToken, Source, TokenCache, Wanted},
    error::Error,
    host::RegistryHost,
    oidc::{self, Person},
    registry::{Registry, Transport},
};
use exchange::{Granted, Subject};
use identity_token::{TOKEN_FILE_VARIABLE, TOKEN_VARIABLE};

/// A cached token with less life than this, or than half its life, is replaced: what is started with it should be able
/// to finish.
const NEAR_EXPIRY_SECONDS: i64 = 600;

/// A token with no more life than this is not handed out even where no other is to be had: it would end on the way.
const LEAST_LIFE_SECONDS: i64 = 5;

/// Which identity a login uses.
#[derive(Debug, Clone)]
pub(crate) enum Login {
    /// An identity token in a file, or on standard input for `-`.
    With(String),
    /// What this machine is, to that provider.
    As(Provider),
    /// A person, through an issuer.
    Person(Person),
    /// That of the environment, of this machine, or the development issuer's; else the person's at this terminal.
    Unattended,
    /// The development issuer's, whatever the environment says.
    #[cfg_attr(
        not(feature = "serve"),
        expect(dead_code, reason = "only the demonstration asks for it")
    )]
    Dev,
}

/// Logs in, keeps the token and remembers the registry as the last one.
pub(crate) async fn login(
    cache: &TokenCache,
    clock: &Clock,
    host: &RegistryHost,
    transport: &Transport,
    login: Login,
    wanted: Wanted,
) -> Result<CachedToken, Error> {
    let registry = Registry::connect(host, transport).await?;
    let context = Context {
        registry: &registry,
        clock,
        transport,
        wanted: &wanted,
    };
    let token = Box::pin(context.log_in(login, cache)).await?;
    let lock = cache.lock(host).await?;
    let earlier = cache.load(host)?;
    cache.store(host, &token)?;
    drop(lock);
    cache.set_last_login(host)?;
    if let Some(refresh_token) = earlier.as_ref().and_then(|token| token.source.refresh_token()) {
        // Nobody can use that session any more. If the registry cannot be told now, it ends by itself.
        let _ = exchange::revoke(&registry, refresh_token).await;
    }
    Ok(token)
}

/// What a logout did.
pub(crate) enum LoggedOut {
    /// There was no login.
    NothingThere,
    /// There was only something here to forget.
    Forgotten,
    /// There was a login of the development issuer, which gives another to whoever asks.
    OfDevIssuer,
    /// There was a session; the registry ended it.
    SessionEnded,
    /// There was a session, and the registry could not be told. The tokens are gone from here all the same.
    SessionLeft(Error),
}

/// Forgets a registry's tokens, and ends the session that they came of.
pub(crate) async fn log_out(
    cache: &TokenCache,
    host: &RegistryHost,
    transport: &Transport,
) -> Result<LoggedOut, Error> {
    let _lock = cache.lock(host).await?;
    let token = cache.load(host)?;
    if !cache.remove(host)? {
        return Ok(LoggedOut::NothingThere);
    }
    let Some(token) = token else {
        return Ok(LoggedOut::Forgotten);
    };
    match &token.source {
        Source::Session {
            refresh_token: Some(refresh_token),
            ..
        } => {
            let revoked = async {
                let registry = Registry::connect(host, &token.transport(transport)).await?;
                exchange::revoke(&registry, refresh_token).await
            };
            Ok(match revoked.await {
                Ok(()) => LoggedOut::SessionEnded,
                Err(error) => LoggedOut::SessionLeft(error),
            })
        }
        Source::Dev { .. } => Ok(LoggedOut::OfDevIssuer),
        _ => Ok(LoggedOut::Forgotten),
    }
}

/// A token with enough life to be used: the cached one, else another got the same way without asking anyone.
pub(crate) async fn fresh_token(
    cache: &TokenCache,
    clock: &Clock,
    host: &RegistryHost,
    transport: &Transport,
) -> Result<CachedToken, Error> {
    if let Some(token) = cache.load(host)?
        && is_fresh(clock, host, &token)
    {
        return Ok(token);
    }
    let _lock = cache.lock(host).await?;
    // Another process may have got one while this one waited.
    let cached = cache.load(host)?;
    if let Some(token) = &cached
        && is_fresh(clock, host, token)
    {
        return Ok(token.clone());
    }
    let renewed = Box::pin(renew(clock, host, transport, cached.as_ref())).await;
    match (renewed, cached) {
        (Ok(token), _) => {
            cache.store(host, &token)?;
            Ok(token)
        }
        (Err(error), Some(token)) => outlived(cache, clock, host, token, error),
        (Err(error), None) => Err(error),
    }
}

/// Better a token with minutes left than none. A session that the registry refused is over: its refresh token is shown
/// no more.
fn outlived(
    cache: &TokenCache,
    clock: &Clock,
    host: &RegistryHost,
    mut token: CachedToken,
    error: Error,
) -> Result<CachedToken, Error> {
    if token.source.refresh_token().is_some() && matches!(error, Error::LoginRefused { .. }) {
        token.source = Source::Session {
            refresh_token: None,
            expires_at: 0,
        };
        // The registry ended the session, so what came of it is good no longer either.
        token.expires_at = 0;
        token.renew_at = None;
        cache.store(host, &token)?;
        return Err(error);
    }
    if token.expires_at - clock.unix_seconds() > LEAST_LIFE_SECONDS && is_of_this_process(host, &token) {
        return Ok(token);
    }
    Err(error)
}

fn is_fresh(clock: &Clock, host: &RegistryHost, token: &CachedToken) -> bool {
    let renew_at = token.renew_at.unwrap_or(token.expires_at - NEAR_EXPIRY_SECONDS);
    clock.unix_seconds() < renew_at && is_of_this_process(host, token)
}

/// Whether a token of a development issuer comes from the process that runs now.
fn is_of_this_process(host: &RegistryHost, token: &CachedToken) -> bool {
    match &token.source {
        Source::Dev { secret_digest } => dev::is_current(host, secret_digest),
        _ => true,
    }
}

/// Gets a token as the last one was got. Only a registry that was logged in to is given an identity token of this
/// environment: a credential helper is asked about hosts that nobody meant to show it to.
async fn renew(
    clock: &Clock,
    host: &RegistryHost,
    transport: &Transport,
    last: Option<&CachedToken>,
) -> Result<CachedToken, Error> {
    // What the login said about the way to the registry holds until a flag says otherwise.
    let transport = &last.map_or_else(|| transport.clone(), |token| token.transport(transport));
    let nothing = Wanted::default();
    let wanted = last.map_or(&nothing, |token| &token.wanted);
    let source = last.map(|token| &token.source);
    let open = async || Registry::connect(host, transport).await;
    let given = match source {
        Some(
            session @ Source::Session {
                refresh_token: Some(refresh_token),
                ..
            },
        ) => {
            let registry = open().await?;
            let granted = exchange::refresh(&registry, refresh_token, wanted).await?;
            let context = Context::new(&registry, clock, transport, wanted);
            return Ok(context.token(granted, session.clone()));
        }
        Some(Source::Ambient { provider }) => {
            let subject = provider.identity_token(&audience(host, wanted)).await?;
            Some((subject, Source::Ambient { provider: *provider }))
        }
        Some(Source::IdentityTokenFile { path }) => Some((
            identity_token::of_file(path)?,
            Source::IdentityTokenFile { path: path.clone() },
        )),
        Some(Source::IdentityToken) => identity_token::of_environment()?,
        Some(Source::Session { .. }) => return Err(session_over(host)),
        Some(Source::Dev { .. }) | None => None,
    };
    if given.is_none() && !dev::is_possible(host) {
        return Err(not_logged_in(host));
    }
    let registry = open().await?;
    let context = Context::new(&registry, clock, transport, wanted);
    match given {
        Some((subject, source)) => context.exchange(&subject, source).await,
        None => context.dev().await,
    }
}

/// The audience that an identity token for a registry has to have.
fn audience(host: &RegistryHost, wanted: &Wanted) -> String {
    wanted.audience.clone().unwrap_or_else(|| host.to_string())
}

/// All that one way to a token needs.
struct Context<'a> {
    registry: &'a Registry,
    clock: &'a Clock,
    transport: &'a Transport,
    wanted: &'a Wanted,
}

impl<'a> Context<'a> {
    fn new(registry: &'a Registry, clock: &'a Clock, transport: &'a Transport, wanted: &'a Wanted) -> Self {
        Self {
            registry,
            clock,
            transport,
            wanted,
        }
    }

    async fn log_in(&self, login: Login, cache: &TokenCache) -> Result<CachedToken, Error> {
        let host = self.registry.host();
        match login {
            Login::With(file) if file == "-" => {
                let subject = identity_token::of_standard_input()?;
                self.exchange(&subject, Source::IdentityToken).await
            }
            Login::With(file) => {
                let path = fs::canonicalize(&file).map_err(Error::file("read", file))?;
                let subject = identity_token::of_file(&path)?;
                self.exchange(&subject, Source::IdentityTokenFile { path }).await
            }
            Login::As(provider) => self.ambient(provider).await,
            Login::Person(person) => self.person(&person, cache).await,
            Login::Dev => self.dev().await,
            Login::Unattended => {
                if let Some((subject, source)) = identity_token::of_environment()? {
                    return self.exchange(&subject, source).await;
                }
                if let Some(provider) = Provider::detect(&audience(host, self.wanted)) {
                    return self.ambient(provider).await;
                }
                if dev::is_possible(host) {
                    return self.dev().await;
                }
                if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
                    return self.person(&Person::default(), cache).await;
                }
                Err(not_logged_in(host))
            }
        }
    }

    async fn ambient(&self, provider: Provider) -> Result<CachedToken, Error> {
        let audience = audience(self.registry.host(), self.wanted);
        let subject = provider.identity_token(&audience).await?;
        self.exchange(&subject, Source::Ambient { provider }).await
    }

    async fn person(&self, person: &Person, cache: &TokenCache) -> Result<CachedToken, Error> {
        let ca_file = self.transport.ca_file.as_deref();
        let subject = oidc::identity_token(self.registry, ca_file, cache, person).await?;
        self.exchange(
            &subject,
            Source::Session {
                refresh_token: None,
                expires_at: 0,
            },
        )
        .await
    }

    async fn dev(&self) -> Result<CachedToken, Error> {
        let (subject, source) = dev::identity_token(self.registry).await?;
        self.exchange(&subject, source).await
    }

    async fn exchange(&self, subject: &str, source: Source) -> Result<CachedToken, Error> {
        let subject = Subject {
            identity_token: subject,
            session: matches!(source, Source::Session { .. }),
        };
        let granted = exchange::exchange(self.registry, &subject, self.wanted).await?;
        Ok(self.token(granted, source))
    }

    /// What is kept of an answer. A refresh token in it makes it a session, wherever it came from.
    fn token(&self, granted: Granted, source: Source) -> CachedToken {
        let now = self.clock.unix_seconds();
        let absolute = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let source = match granted.refresh_token {
            Some(refresh_token) => Source::Session {
                refresh_token: Some(refresh_token),
                expires_at: granted.refresh_expires_in.map_or(0, |seconds| now + seconds),
            },
            None => source,
        };
        CachedToken {
            host: self.registry.host().to_string(),
            access_token: granted.access_token,
            expires_at: now + granted.expires_in,
            renew_at: Some(now + granted.expires_in - NEAR_EXPIRY_SECONDS.min(granted.expires_in / 2)),
            identity: granted.identity,
            identities: granted
                .identities
                .into_iter()
                .map(|identity| identity.name)
                .collect(),
            plain_http: self.transport.plain_http,
            ca_file: self.transport.ca_file.as_deref().map(absolute),
            wanted: self.wanted.clone(),
            source,
        }
    }
}

fn session_over(host: &RegistryHost) -> Error {
    Error::NotLoggedIn {
        host: host.to_string(),
        advice: format!("the session is over; run `roadstead login {host}`"),
    }
}

fn not_logged_in(host: &RegistryHost) -> Error {
    let advice = format!(
        "run one of\n  \
         roadstead login {host} --browser                 (a person; --device where there is no browser)\n  \
         roadstead login {host} --identity-token FILE     (an OIDC identity token of an issuer that the registry trusts)\n\
         or set {TOKEN_VARIABLE} or {TOKEN_FILE_VARIABLE}"
    );
    let advice = match host.dev_port() {
        Some(port) => format!(
            "{advice}\nNo development issuer has left its secret for port {port}: `roadstead serve --dev`, run as this user, does."
        ),
        None => advice,
    };
    Error::NotLoggedIn {
        host: host.to_string(),
        advice,
    }
}
