//! What clients asked for, and what the registry said to it: what must be there after a crash, what may, what must not.
//!
//! Every repository has one writer, who asks for one change of a thing at a time. So after an answer it is known what is
//! there, and without one it is one of two: as before, or as asked.

use std::collections::{BTreeMap, BTreeSet};

use roadstead_types::Digest;

/// A thing in a repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A blob that the repository holds.
    Blob(String, Digest),
    /// A manifest.
    Manifest(String, Digest),
    /// A tag.
    Tag(String, String),
}

/// What is at a key: a blob and a manifest are there as themselves or not at all, a tag points somewhere.
pub type Value = Option<Digest>;

/// A change that a client asks for.
#[derive(Clone, Debug)]
pub enum Effect {
    /// A blob is pushed or mounted.
    PushBlob(String, Digest),
    /// A blob is taken from the repository.
    DeleteBlob(String, Digest),
    /// A manifest is put, under tags perhaps.
    PushManifest(String, Digest, Vec<String>),
    /// A manifest is deleted, and its tags with it.
    DeleteManifest(String, Digest),
    /// A tag is deleted.
    DeleteTag(String, String),
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The registry said that it was done.
    Acknowledged,
    /// The registry said that it was not done.
    Refused,
    /// No answer came, or one that says nothing about it.
    Unknown,
}

/// A change and everything that is known of it.
#[derive(Clone, Debug)]
pub struct Change {
    /// What was asked for.
    pub effect: Effect,
    /// The ids of the requests that asked for it; repeated ones count as one change.
    pub requests: Vec<String>,
    /// What became of it.
    pub outcome: Outcome,
    before: Vec<(Key, BTreeSet<Value>)>,
}

/// Names a change in its ledger.
#[derive(Clone, Copy, Debug)]
pub struct ChangeId(usize);

/// The changes of one writer, or of several with repositories of their own.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    allowed: BTreeMap<Key, BTreeSet<Value>>,
    sizes: BTreeMap<Digest, usize>,
    changes: Vec<Change>,
    /// Referrer to subject, in each repository.
    subjects: BTreeMap<(String, Digest), Digest>,
    /// What clients saw that cannot be.
    violations: Vec<String>,
}

impl Effect {
    /// The repository that changes.
    pub fn repository(&self) -> &str {
        match self {
            Self::PushBlob(repository, _)
            | Self::DeleteBlob(repository, _)
            | Self::PushManifest(repository, ..)
            | Self::DeleteManifest(repository, _)
            | Self::DeleteTag(repository, _) => repository,
        }
    }

    fn after(&self, key: &Key, before: &Value) -> Value {
        match (self, key) {
            (Self::PushBlob(_, digest) | Self::PushManifest(_, digest, _), _) => Some(digest.clone()),
            // Only tags that point at the manifest go with it.
            (Self::DeleteManifest(_, digest), _) if before.as_ref() != Some(digest) => before.clone(),
            (Self::DeleteManifest(..) | Self::DeleteBlob(..) | Self::DeleteTag(..), _) => None,
        }
    }
}

impl Ledger {
    /// Remembers how large a content is.
    pub fn knows_content(&mut self, digest: &Digest, size: usize) {
        self.sizes.insert(digest.clone(), size);
    }

    /// Remembers what a manifest refers to.
    pub fn knows_subject(&mut self, repository: &str, referrer: &Digest, subject: &Digest) {
        self.subjects
            .insert((repository.to_owned(), referrer.clone()), subject.clone());
    }

    /// Notes that a change is asked for with the request of this id. Until it is settled, it may be so or not.
    pub fn begin(&mut self, effect: Effect, request: String) -> ChangeId {
        let before: Vec<_> = self
            .keys_of(&effect)
            .into_iter()
            .map(|key| {
                let allowed = self.allowed(&key);
                (key, allowed)
            })
            .collect();
        for (key, values) in &before {
            let after = values.iter().map(|value| effect.after(key, value));
            let possible = values.iter().cloned().chain(after).collect();
            self.allowed.insert(key.clone(), possible);
        }
        self.changes.push(Change {
            effect,
            requests: vec![request],
            outcome: Outcome::Unknown,
            before,
        });
        ChangeId(self.changes.len() - 1)
    }

    /// Notes that the same is asked for again.
    pub fn repeat(&mut self, change: ChangeId, request: String) {
        self.changes[change.0].requests.push(request);
    }

    /// Notes the answer.
    pub fn settle(&mut self, id: ChangeId, outcome: Outcome) {
        let change = &mut self.changes[id.0];
        change.outcome = outcome;
        for (key, values) in &change.before {
            let settled = match outcome {
                Outcome::Unknown => continue,
                Outcome::Refused => values.clone(),
                Outcome::Acknowledged => values
                    .iter()
                    .map(|value| change.effect.after(key, value))
                    .collect(),
            };
            self.allowed.insert(key.clone(), settled);
        }
    }

    /// Notes what was seen at a key.
    pub fn saw(&mut self, key: &Key, value: &Value) {
        if !self.allowed(key).contains(value) {
            let allowed = self.allowed(key);
            self.violation(format!("{key:?} is {value:?}; allowed are {allowed:?}"));
        }
    }

    /// Notes what must never happen.
    pub fn violation(&mut self, what: String) {
        self.violations.push(what);
    }

    /// What may be at the key.
    pub fn allowed(&self, key: &Key) -> BTreeSet<Value> {
        let nothing = || BTreeSet::from([None]);
        self.allowed.get(key).cloned().unwrap_or_else(nothing)
    }

    /// Whether something must be at the key.
    pub fn is_certain(&self, key: &Key) -> bool {
        self.allowed
            .get(key)
            .is_some_and(|values| !values.contains(&None))
    }

    /// All keys that ever had something, with what may be there now.
    pub fn keys(&self) -> impl Iterator<Item = (&Key, &BTreeSet<Value>)> {
        self.allowed.iter()
    }

    /// All changes.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// How many bytes a content has.
    pub fn size(&self, digest: &Digest) -> Option<usize> {
        self.sizes.get(digest).copied()
    }

    /// Referrers of a repository with their subjects.
    pub fn subjects(&self) -> impl Iterator<Item = (&str, &Digest, &Digest)> {
        self.subjects
            .iter()
            .map(|((repository, referrer), subject)| (repository.as_str(), referrer, subject))
    }

    /// What clients saw that cannot be.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// How many changes were acknowledged.
    pub fn acknowledged(&self) -> usize {
        let acknowledged = |change: &&Change| change.outcome == Outcome::Acknowledged;
        self.changes.iter().filter(acknowledged).count()
    }

    /// How many changes may have happened or not.
    pub fn unknown(&self) -> usize {
        let unknown = |change: &&Change| change.outcome == Outcome::Unknown;
        self.changes.iter().filter(unknown).count()
    }

    /// Takes over what another writer noted, whose repositories are others.
    pub fn absorb(&mut self, other: Self) {
        self.allowed.extend(other.allowed);
        self.sizes.extend(other.sizes);
        self.changes.extend(other.changes);
        self.subjects.extend(other.subjects);
        self.violations.extend(other.violations);
    }

    fn keys_of(&self, effect: &Effect) -> Vec<Key> {
        match effect.clone() {
            Effect::PushBlob(repository, digest) | Effect::DeleteBlob(repository, digest) => {
                vec![Key::Blob(repository, digest)]
            }
            Effect::DeleteTag(repository, tag) => vec![Key::Tag(repository, tag)],
            Effect::PushManifest(repository, digest, tags) => {
                let tags = tags.into_iter().map(|tag| Key::Tag(repository.clone(), tag));
                let mut keys: Vec<_> = tags.collect();
                keys.push(Key::Manifest(repository, digest));
                keys
            }
            Effect::DeleteManifest(repository, digest) => {
                let tags = self
                    .allowed
                    .keys()
                    .filter(|key| matches!(key, Key::Tag(of, _) if *of == repository));
                let mut keys: Vec<_> = tags.cloned().collect();
                keys.push(Key::Manifest(repository, digest));
                keys
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag() -> Key {
        Key::Tag("r".into(), "t".into())
    }

    fn put(content: &[u8]) -> Effect {
        Effect::PushManifest("r".into(), Digest::sha256(content), vec!["t".into()])
    }

    #[test]
    fn an_answer_decides_and_silence_allows_both() {
        let (one, two) = (Digest::sha256(b"one"), Digest::sha256(b"two"));
        let mut ledger = Ledger::default();
        let first = ledger.begin(put(b"one"), "1".into());
        assert_eq!(ledger.allowed(&tag()), BTreeSet::from([None, Some(one.clone())]));
        ledger.settle(first, Outcome::Acknowledged);
        assert_eq!(ledger.allowed(&tag()), BTreeSet::from([Some(one.clone())]));

        let second = ledger.begin(put(b"two"), "2".into());
        ledger.settle(second, Outcome::Unknown);
        assert_eq!(
            ledger.allowed(&tag()),
            BTreeSet::from([Some(one.clone()), Some(two.clone())])
        );
        let third = ledger.begin(Effect::DeleteTag("r".into(), "t".into()), "3".into());
        ledger.settle(third, Outcome::Refused);
        assert!(ledger.is_certain(&tag()));

        let fourth = ledger.begin(Effect::DeleteManifest("r".into(), two), "4".into());
        ledger.settle(fourth, Outcome::Acknowledged);
        assert_eq!(ledger.allowed(&tag()), BTreeSet::from([None, Some(one)]));
    }

    #[test]
    fn what_cannot_be_is_a_violation() {
        let mut ledger = Ledger::default();
        ledger.saw(&tag(), &None);
        assert!(ledger.violations().is_empty());
        ledger.saw(&tag(), &Some(Digest::sha256(b"one")));
        assert_eq!(ledger.violations().len(), 1);
    }
}
