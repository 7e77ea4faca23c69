//! What was revoked, as a set.

use std::collections::HashMap;

use roadstead_proto::auth::v1::{Watermark, watermark::Subject};

use crate::Provenance;

/// Subjects of which the tokens of earlier revisions are good no longer.
///
/// A mark only ever rises: told twice, or in another order, it says the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watermarks {
    every_token: u64,
    tokens: HashMap<String, u64>,
    credentials: HashMap<String, u64>,
    identities: HashMap<String, u64>,
    prefixes: HashMap<String, u64>,
}

impl Watermarks {
    /// Adds a mark. One of no known subject, which a later release may send, counts for every token: better one token too
    /// many than one too few.
    pub fn add(&mut self, watermark: Watermark) {
        let revision = watermark.revision;
        let (marks, subject) = match watermark.subject {
            Some(Subject::TokenId(id)) if !id.is_empty() => (&mut self.tokens, id),
            Some(Subject::Credential(credential)) => (&mut self.credentials, credential),
            Some(Subject::Identity(id)) => (&mut self.identities, id),
            Some(Subject::Prefix(prefix)) => (&mut self.prefixes, prefix),
            Some(Subject::TokenId(_)) | None => return self.raise_every_token(revision),
        };
        // What every token is marked with needs no mark of its own.
        if revision > self.every_token {
            let mark = marks.entry(subject).or_default();
            *mark = revision.max(*mark);
        }
    }

    /// Returns how many subjects are marked.
    pub fn len(&self) -> usize {
        self.each().map(HashMap::len).sum()
    }

    /// Returns whether nothing was revoked.
    pub fn is_empty(&self) -> bool {
        self.every_token == 0 && self.len() == 0
    }

    /// Replaces all marks by one for every token: less is remembered, and more is revoked.
    pub fn coalesce(&mut self) {
        let highest = self.each().flat_map(HashMap::values).max().copied();
        self.raise_every_token(highest.unwrap_or_default());
    }

    /// Returns whether what a token came of was revoked: the token itself, its credential, or the rule of an identity.
    pub fn revoke_origin(&self, token: &Provenance) -> bool {
        let rose = |marks: &HashMap<String, u64>, subject: &str| {
            marks.get(subject).is_some_and(|mark| *mark > token.revision)
        };
        self.every_token > token.revision
            || rose(&self.tokens, &token.token_id)
            || (!self.credentials.is_empty()
                && (token
                    .credential
                    .as_deref()
                    .is_some_and(|credential| rose(&self.credentials, credential))
                    || token
                        .identities
                        .iter()
                        .any(|id| rose(&self.credentials, &format!("identity:{id}")))))
    }

    /// Returns whether what was decided for a token was revoked: what its identities may do, or what may be done to one of
    /// `repositories`.
    pub fn revoke_decision<'a>(
        &self,
        token: &Provenance,
        repositories: impl IntoIterator<Item = &'a str>,
    ) -> bool {
        let rose = |marks: &HashMap<String, u64>, subject: &str| {
            marks.get(subject).is_some_and(|mark| *mark > token.revision)
        };
        token.identities.iter().any(|id| rose(&self.identities, id))
            || (!self.prefixes.is_empty()
                && repositories
                    .into_iter()
                    .any(|repository| prefixes(repository).any(|prefix| rose(&self.prefixes, prefix))))
    }

    fn raise_every_token(&mut self, revision: u64) {
        self.every_token = revision.max(self.every_token);
        let floor = self.every_token;
        for marks in [
            &mut self.tokens,
            &mut self.credentials,
            &mut self.identities,
            &mut self.prefixes,
        ] {
            marks.retain(|_, mark| *mark > floor);
        }
    }

    fn each(&self) -> impl Iterator<Item = &HashMap<String, u64>> {
        [&self.tokens, &self.credentials, &self.identities, &self.prefixes].into_iter()
    }
}

impl FromIterator<Watermark> for Watermarks {
    fn from_iter<I: IntoIterator<Item = Watermark>>(watermarks: I) -> Self {
        let mut all = Self::default();
        for watermark in watermarks {
            all.add(watermark);
        }
        all
    }
}

/// The whole-segment prefixes of a name: the empty one, those that end before a slash, and the name.
fn prefixes(name: &str) -> impl Iterator<Item = &str> {
    let inner = name.match_indices('/').map(|(end, _)| &name[..end]);
    std::iter::once("").chain(inner).chain(std::iter::once(name))
}
