use std::{collections::VecDeque, pin::Pin, time::Duration};

use futures::{Stream, stream};
use roadstead_proto::auth::v1::{
    WatchRequest, WatchResponse, Watermark, revocation_service_server::RevocationService,
    watermark::Subject as WireSubject,
};
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::Service;
use crate::{
    error::Error,
    store::{Store, Subject},
};

const HEARTBEAT: Duration = Duration::from_secs(1);
/// Watermarks in one message; at some 100 bytes each these are a megabyte, of the eight that it may have.
const CHUNK: usize = 10_000;

#[tonic::async_trait]
impl RevocationService for Service {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(&self, _request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let watcher = Watcher {
            changes: self.0.store.revisions(),
            store: self.0.store.clone(),
            stop: self.0.stop.clone(),
            told: None,
            waiting: VecDeque::new(),
        };
        Ok(Response::new(Box::pin(stream::unfold(watcher, Watcher::next))))
    }
}

/// One who is told. What they have not been told yet is read from the database each time, so that nothing is missed
/// however many changes lie between.
struct Watcher {
    store: Store,
    changes: watch::Receiver<u64>,
    stop: CancellationToken,
    /// The revision that they have been told of; none before the snapshot.
    told: Option<u64>,
    waiting: VecDeque<WatchResponse>,
}

impl Watcher {
    async fn next(mut self) -> Option<(Result<WatchResponse, Status>, Self)> {
        if self.waiting.is_empty() {
            if self.told.is_some() && !self.pause().await {
                return None;
            }
            match self.read().await {
                Ok(messages) => self.waiting = messages,
                Err(error) => return Some((Err(error.into()), self)),
            }
        }
        let message = self.waiting.pop_front()?;
        Some((Ok(message), self))
    }

    /// Waits for a change or the time of a heartbeat. False when the service ends.
    async fn pause(&mut self) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            // Whether there was a change the database says; the sender lives as long as the store, which is here.
            _ = timeout(HEARTBEAT, self.changes.changed()) => true,
        }
    }

    async fn read(&mut self) -> Result<VecDeque<WatchResponse>, Error> {
        let told = self.told.unwrap_or_default();
        let (revision, found) = self
            .store
            .snapshot("watch_revocations", |snapshot| {
                let revision = snapshot.revision()?;
                let nothing_new = self.told == Some(revision);
                let found = if nothing_new {
                    Vec::new()
                } else {
                    snapshot.watermarks_above(told)?
                };
                Ok((revision, found))
            })
            .await?;
        self.told = Some(revision);
        Ok(messages(told, revision, found))
    }
}

/// Divides what is told into messages: the first says from which revision on, those that follow that they belong to it.
fn messages(told: u64, revision: u64, found: Vec<(Subject, u64)>) -> VecDeque<WatchResponse> {
    let mut watermarks = found.into_iter().map(wire).peekable();
    let mut messages = VecDeque::new();
    let mut previous = told;
    loop {
        let chunk: Vec<Watermark> = watermarks.by_ref().take(CHUNK).collect();
        let more = watermarks.peek().is_some();
        messages.push_back(WatchResponse {
            revision,
            previous,
            watermarks: chunk,
            more,
        });
        if !more {
            return messages;
        }
        previous = revision;
    }
}

fn wire((subject, revision): (Subject, u64)) -> Watermark {
    let subject = match subject {
        Subject::EveryToken => WireSubject::TokenId(String::new()),
        Subject::Token(id) => WireSubject::TokenId(id),
        Subject::Credential(credential) => WireSubject::Credential(credential),
        Subject::Identity(id) => WireSubject::Identity(id),
        Subject::Prefix(prefix) => WireSubject::Prefix(prefix.to_string()),
    };
    Watermark {
        subject: Some(subject),
        revision,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_watermarks_come_in_chunks_that_follow_each_other() {
        let found = (0..25_000).map(|index| (Subject::Identity(format!("idn_{index}")), 7));
        let messages = messages(0, 9, found.collect());
        let shape: Vec<_> = messages
            .iter()
            .map(|message| {
                (
                    message.previous,
                    message.revision,
                    message.watermarks.len(),
                    message.more,
                )
            })
            .collect();
        assert_eq!(
            shape,
            [(0, 9, 10_000, true), (9, 9, 10_000, true), (9, 9, 5_000, false)]
        );
    }

    #[test]
    fn nothing_is_a_heartbeat() {
        let messages = messages(9, 9, Vec::new());
        assert_eq!((messages[0].previous, messages[0].revision), (9, 9));
        assert!(messages.len() == 1 && messages[0].watermarks.is_empty());
    }
}
