//! Logins, and what clients keep instead of a credential.

use roadstead_authn::Act;
use rusqlite::{OptionalExtension as _, Row, params};

use super::{Result, Snapshot, Subject, Tx, names, rows};
use crate::domain::Narrowing;

/// Sessions that one person or workflow may have at a time; beyond, the ones there are have to do.
const LIMIT: i64 = 1000;

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionKind {
    /// A person's, whose refresh token is replaced each time.
    Login,
    /// A client's, whose refresh token stays, and is good for registry tokens only.
    Client,
}

impl SessionKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Client => "client",
        }
    }
}

/// Something that goes on beyond a token.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) kind: SessionKind,
    /// Who it was begun by, with the upstream claims of then.
    pub(crate) act: Act,
    /// The ids of the identities.
    pub(crate) identities: Vec<String>,
    pub(crate) narrowing: Narrowing,
    /// What it came of and ends with, if that was a session or a pull token.
    pub(crate) credential: Option<String>,
    /// The revision of the permissions that it was begun under.
    pub(crate) revision: u64,
    /// Which refresh token is the current one, from 1.
    pub(crate) generation: u64,
    /// When it became so. Unix milliseconds, as all times here.
    pub(crate) rotated_at: i64,
    pub(crate) created_at: i64,
    pub(crate) expires_at: i64,
    pub(crate) ended: bool,
}

impl Session {
    /// How the tokens that come of it say so.
    pub(crate) fn credential_of(id: &str) -> String {
        format!("session:{id}")
    }
}

const COLUMNS: &str =
    "id, kind, act, identities, narrowing, credential, revision, generation, rotated_at, created_at,
     expires_at, ended_at IS NOT NULL";

fn read(row: &Row<'_>) -> rusqlite::Result<Session> {
    let kind = match row.get_ref(1)?.as_str()? {
        "login" => SessionKind::Login,
        _ => SessionKind::Client,
    };
    Ok(Session {
        id: row.get(0)?,
        kind,
        act: names::json(row, 2)?,
        identities: names::json(row, 3)?,
        narrowing: names::json(row, 4)?,
        credential: row.get(5)?,
        revision: row.get::<_, i64>(6)?.unsigned_abs(),
        generation: row.get::<_, i64>(7)?.unsigned_abs(),
        rotated_at: row.get(8)?,
        created_at: row.get(9)?,
        expires_at: row.get(10)?,
        ended: row.get(11)?,
    })
}

impl Snapshot<'_> {
    pub(crate) fn session(&self, id: &str) -> Result<Option<Session>> {
        Ok(self
            .prepare_cached(&format!("SELECT {COLUMNS} FROM sessions WHERE id = ?1"))?
            .query_row([id], read)
            .optional()?)
    }
}

impl Tx<'_> {
    /// Begins a session. Returns false, and begins none, when whoever it is for has very many: each takes room until it
    /// ends, and anybody who can have one could have any number.
    pub(crate) fn insert_session(&self, session: &Session) -> Result<bool> {
        let live: i64 = self
            .prepare_cached(
                "SELECT count(*) FROM (SELECT 1 FROM sessions
                 WHERE act ->> 'iss' = ?1 AND act ->> 'sub' = ?2 AND expires_at > ?3 AND ended_at IS NULL LIMIT ?4)",
            )?
            .query_row(
                params![session.act.issuer, session.act.subject, self.now, LIMIT],
                |row| row.get(0),
            )?;
        if live >= LIMIT {
            return Ok(false);
        }
        self.prepare_cached(
            "INSERT INTO sessions
                 (id, kind, act, identities, narrowing, credential, revision, generation, rotated_at, created_at,
                  expires_at, ended_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, NULL)",
        )?
        .execute(params![
            session.id,
            session.kind.as_str(),
            serde_json::to_string(&session.act)?,
            serde_json::to_string(&session.identities)?,
            serde_json::to_string(&session.narrowing)?,
            session.credential,
            signed(session.revision),
            signed(session.generation),
            session.rotated_at,
            session.created_at,
            session.expires_at
        ])?;
        Ok(true)
    }

    /// Makes another refresh token the current one, from now on.
    pub(crate) fn rotate_session(&self, id: &str, generation: u64) -> Result<()> {
        self.prepare_cached("UPDATE sessions SET generation = ?2, rotated_at = ?3 WHERE id = ?1")?
            .execute(params![id, signed(generation), self.now])?;
        Ok(())
    }

    /// Ends a session with all that came of it. Returns false when it was ended before.
    pub(crate) fn end_session(&self, id: &str) -> Result<bool> {
        let ended = self
            .prepare_cached("UPDATE sessions SET ended_at = ?2 WHERE id = ?1 AND ended_at IS NULL")?
            .execute(params![id, self.now])?;
        if ended > 0 {
            self.revoke_credential(&Session::credential_of(id))?;
        }
        Ok(ended > 0)
    }

    /// Ends the sessions that speak for an identity.
    pub(crate) fn end_sessions_of(&self, identity: &str) -> Result<()> {
        let mut select = self.prepare_cached(
            "SELECT id FROM sessions
             WHERE ended_at IS NULL AND EXISTS (SELECT 1 FROM json_each(identities) WHERE value = ?1)",
        )?;
        let ids: Vec<String> = select
            .query_map([identity], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        ids.iter().try_for_each(|id| self.end_session(id).map(|_| ()))
    }

    /// Revokes the tokens that came of a credential, and ends the sessions that did.
    pub(crate) fn revoke_credential(&self, credential: &str) -> Result<()> {
        self.revoke(&Subject::Credential(credential.to_owned()))?;
        let mut select =
            self.prepare_cached("SELECT id FROM sessions WHERE credential = ?1 AND ended_at IS NULL")?;
        let ids: Vec<String> = select
            .query_map([credential], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        // What a client keeps gives no other session, so this goes one step deep.
        ids.iter().try_for_each(|id| self.end_session(id).map(|_| ()))
    }

    /// Forgets some sessions that were over at `believable_now` (Unix milliseconds), at most `limit`. Returns how many.
    pub(crate) fn forget_sessions(&self, believable_now: i64, limit: usize) -> Result<usize> {
        Ok(self
            .prepare_cached(
                "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at <= ?1 LIMIT ?2)",
            )?
            .execute(params![believable_now, rows(limit)])?)
    }
}

/// SQLite counts in 64 bits with a sign.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use roadstead_testkit::test_dir;
    use roadstead_types::Clock;

    use super::*;
    use crate::store::Store;

    fn session(id: &str, subject: &str) -> Session {
        Session {
            id: id.to_owned(),
            kind: SessionKind::Client,
            act: Act {
                issuer: "https://issuer.example".to_owned(),
                subject: subject.to_owned(),
                ..Act::default()
            },
            identities: Vec::new(),
            narrowing: Narrowing::default(),
            credential: None,
            revision: 1,
            generation: 1,
            rotated_at: 0,
            created_at: 0,
            expires_at: 60_000,
            ended: false,
        }
    }

    #[tokio::test]
    async fn nobody_has_any_number_of_sessions() {
        let directory = test_dir();
        let (clock, time) = Clock::fixed(UNIX_EPOCH);
        let store = Store::open(directory.path(), clock).unwrap();
        let begin = async |id: &str, subject: &str| {
            let session = session(id, subject);
            let work = move |tx: &Tx<'_>| tx.insert_session(&session);
            store.write("begin", work).await.unwrap()
        };
        let fill = |tx: &Tx<'_>| {
            for index in 0..LIMIT {
                assert!(tx.insert_session(&session(&format!("ses_{index}"), "alice"))?);
            }
            Ok(())
        };
        store.write("fill", fill).await.unwrap();
        assert!(!begin("ses_more", "alice").await);
        assert!(begin("ses_bob", "bob").await, "others have theirs");
        store
            .write("end", |tx| tx.end_session("ses_0").map(drop))
            .await
            .unwrap();
        assert!(begin("ses_after_an_end", "alice").await);
        assert!(!begin("ses_more", "alice").await);
        time.advance(Duration::from_mins(1));
        assert!(
            begin("ses_later", "alice").await,
            "those that are over do not count"
        );
    }

    #[tokio::test]
    async fn looking_for_sessions_of_somebody_reads_an_index() {
        let directory = test_dir();
        let (clock, _time) = Clock::fixed(UNIX_EPOCH);
        let store = Store::open(directory.path(), clock).unwrap();
        let read = |snapshot: &Snapshot<'_>| {
            let plan: String = snapshot
                .prepare(
                    "EXPLAIN QUERY PLAN SELECT 1 FROM sessions WHERE act ->> 'iss' = 'a' AND act ->> 'sub' = 'b'
                     AND expires_at > 0 AND ended_at IS NULL",
                )?
                .query_row([], |row| row.get(3))?;
            Ok(plan)
        };
        let plan = store.snapshot("plan", read).await.unwrap();
        assert!(plan.contains("sessions_by_holder"), "{plan}");
    }
}
