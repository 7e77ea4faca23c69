use std::time::UNIX_EPOCH;

use roadstead_authn::{Access, Act};
use roadstead_testkit::{TestDirectory, test_dir};
use roadstead_types::{Action, ActionSet, Clock};

use super::*;
use crate::{
    domain::Narrowing,
    store::{Session, SessionKind, Store},
};

const NOW: i64 = 1_800_000_000_000;

fn open() -> (Store, TestDirectory) {
    let directory = test_dir();
    let start = UNIX_EPOCH + Duration::from_millis(NOW.unsigned_abs());
    let (clock, _time) = Clock::fixed(start);
    (Store::open(directory.path(), clock).unwrap(), directory)
}

async fn revoke(store: &Store, subjects: Vec<Subject>) -> u64 {
    let work = move |tx: &Tx<'_>| {
        subjects.iter().try_for_each(|subject| tx.revoke(subject))?;
        tx.revision()
    };
    store.write("revoke", work).await.unwrap()
}

fn token(revision: u64) -> Provenance {
    Provenance {
        token_id: "token-1".to_owned(),
        revision,
        identities: vec!["idn_1".to_owned()],
        credential: Some("session:ses_1".to_owned()),
    }
}

fn registry_token(revision: u64) -> RegistryClaims {
    let access = Access {
        resource_type: "repository".to_owned(),
        name: "acme/web".to_owned(),
        actions: ActionSet::from(Action::Pull),
        why: None,
    };
    RegistryClaims {
        principal: roadstead_types::Principal::anonymous(),
        access: vec![access],
        denied: Vec::new(),
        act: Act::default(),
        provenance: token(revision),
        scope: None,
        capabilities: None,
        issued_at: 0,
        expires_at: 0,
    }
}

async fn revoked(store: &Store, revision: u64) -> (bool, bool) {
    store
        .snapshot("is_revoked", |snapshot| {
            Ok((
                snapshot.is_origin_revoked(&token(revision))?,
                snapshot.is_registry_token_revoked(&registry_token(revision))?,
            ))
        })
        .await
        .unwrap()
}

fn prefix(text: &str) -> Subject {
    Subject::Prefix(RepositoryPrefix::parse(text).unwrap())
}

#[tokio::test]
async fn the_database_says_the_same_as_verifiers_do() {
    // Subject, whether it concerns an access token, and a registry token for acme/web.
    let cases = [
        (Subject::EveryToken, true, true),
        (Subject::Token("token-1".to_owned()), true, true),
        (Subject::Token("token-2".to_owned()), false, false),
        (Subject::Credential("session:ses_1".to_owned()), true, true),
        (Subject::Credential("session:ses_2".to_owned()), false, false),
        (Subject::rule_of("idn_1"), true, true),
        (Subject::rule_of("idn_2"), false, false),
        (Subject::Identity("idn_1".to_owned()), false, true),
        (Subject::Identity("idn_2".to_owned()), false, false),
        (prefix(""), false, true),
        (prefix("acme"), false, true),
        (prefix("acme/web"), false, true),
        (prefix("acme/we"), false, false),
        (prefix("acme/web/x"), false, false),
    ];
    for (subject, access, registry) in cases {
        let (store, _directory) = open();
        let revision = revoke(&store, vec![subject.clone()]).await;
        assert_eq!(
            revoked(&store, revision - 1).await,
            (access, registry),
            "{subject:?}"
        );
        assert_eq!(revoked(&store, revision).await, (false, false), "{subject:?}");
    }
}

#[tokio::test]
async fn more_than_the_limit_becomes_one_for_every_token() {
    let (store, _directory) = open();
    let many = (0..10).map(|index| Subject::Identity(format!("idn_x{index}")));
    let revision = revoke(&store, many.collect()).await;
    let coalesce = async |limit| {
        let work = move |tx: &Tx<'_>| tx.coalesce_watermarks(limit);
        store.write("coalesce", work).await.unwrap()
    };
    assert!(!coalesce(10).await);
    assert_eq!(revoked(&store, revision - 1).await, (false, false));
    assert!(coalesce(9).await);
    assert_eq!(revoked(&store, revision).await, (true, true));
    assert_eq!(revoked(&store, revision + 1).await, (false, false));
    // Whoever was told of the ten is told of the one.
    let told = store
        .snapshot("watch", |snapshot| snapshot.watermarks_above(revision))
        .await
        .unwrap();
    assert_eq!(told, [(Subject::EveryToken, revision + 1)]);
}

#[tokio::test]
async fn a_watermark_is_forgotten_when_nothing_can_be_older() {
    let (store, _directory) = open();
    let revision = revoke(&store, vec![Subject::rule_of("idn_1")]).await;
    let forget = async |after: Duration| {
        let then = NOW + i64::try_from(after.as_millis()).unwrap();
        let work = move |tx: &Tx<'_>| tx.forget_watermarks(then);
        store.write("forget", work).await.unwrap();
        revoked(&store, revision - 1).await.0
    };
    assert!(forget(LONGEST_LIFE.saturating_sub(Duration::from_millis(1))).await);
    assert!(!forget(LONGEST_LIFE).await);
}

#[test]
fn what_a_newer_release_revokes_counts_for_every_token() {
    assert_eq!(
        Subject::from_columns("planet", "mars".to_owned()),
        Subject::EveryToken
    );
    assert_eq!(
        Subject::from_columns("prefix", "NOT A PATH".to_owned()),
        Subject::EveryToken
    );
}

#[tokio::test]
async fn a_session_ends_with_those_that_came_of_it() {
    let (store, _directory) = open();
    let session = |id: &str, credential: Option<&str>| Session {
        id: id.to_owned(),
        kind: SessionKind::Client,
        act: Act::default(),
        identities: Vec::new(),
        narrowing: Narrowing::default(),
        credential: credential.map(str::to_owned),
        revision: 1,
        generation: 1,
        rotated_at: NOW,
        created_at: NOW,
        expires_at: NOW + 1000,
        ended: false,
    };
    let all = [
        session("ses_parent", None),
        session("ses_child", Some("session:ses_parent")),
        session("ses_other", Some("session:ses_stranger")),
    ];
    let work = move |tx: &Tx<'_>| {
        for session in &all {
            assert!(tx.insert_session(session)?);
        }
        Ok((tx.end_session("ses_parent")?, tx.end_session("ses_parent")?))
    };
    assert_eq!(store.write("end", work).await.unwrap(), (true, false));
    let read = |snapshot: &Snapshot<'_>| {
        let ended = |id| Ok::<_, crate::error::Error>(snapshot.session(id)?.unwrap().ended);
        Ok((ended("ses_parent")?, ended("ses_child")?, ended("ses_other")?))
    };
    assert_eq!(store.snapshot("read", read).await.unwrap(), (true, true, false));
    let marked = store
        .snapshot("watch", |snapshot| snapshot.watermarks_above(0))
        .await
        .unwrap();
    let mut subjects: Vec<_> = marked.into_iter().map(|(subject, _)| subject).collect();
    subjects.sort();
    let expected = ["session:ses_child", "session:ses_parent"];
    assert_eq!(
        subjects,
        expected.map(|credential| Subject::Credential(credential.to_owned()))
    );
    // What is over is forgotten, a few at a time.
    let forget = async |now| {
        let work = move |tx: &Tx<'_>| tx.forget_sessions(now, 2);
        store.write("forget", work).await.unwrap()
    };
    assert_eq!(
        (
            forget(NOW + 999).await,
            forget(NOW + 1000).await,
            forget(NOW + 1000).await
        ),
        (0, 2, 1)
    );
}
