//! Tasks with names and owners.

use std::{
    collections::BTreeMap,
    future::Future,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::Arc,
    time::Duration,
};

use futures::FutureExt as _;
use opentelemetry::context::FutureExt as _;
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument as _, Span};

/// Background tasks of one service. All clones share the same tasks.
#[derive(Clone, Debug)]
pub struct TaskSet {
    token: CancellationToken,
    tracker: TaskTracker,
    running: Arc<Mutex<Running>>,
}

#[derive(Debug, Default)]
struct Running {
    next: u64,
    tasks: BTreeMap<u64, (String, Option<AbortHandle>)>,
}

/// Takes a task off the list when it ends, however it ends.
struct Listed {
    running: Arc<Mutex<Running>>,
    id: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.running.lock().tasks.remove(&self.id);
    }
}

impl TaskSet {
    /// Makes an empty set. Tasks are expected to end soon after `token` is cancelled.
    pub fn new(token: CancellationToken) -> Self {
        Self {
            token,
            tracker: TaskTracker::new(),
            running: Arc::default(),
        }
    }

    /// The token that tells the tasks to end.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Runs a task for as long as the service runs. A panic in it is logged and ends only this task.
    pub fn spawn(&self, name: impl Into<String>, task: impl Future<Output = ()> + Send + 'static) {
        let name = name.into();
        let span = tracing::info_span!(parent: None, "task", name);
        self.spawn_in(span, name, task);
    }

    /// Runs a task that is part of the current request: its span is a child of the current one, so that the request
    /// stays one trace.
    pub fn spawn_for_request(
        &self,
        name: impl Into<String>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let name = name.into();
        let span = tracing::info_span!("task", name);
        self.spawn_in(span, name, task);
    }

    fn spawn_in(&self, span: Span, name: String, task: impl Future<Output = ()> + Send + 'static) {
        let id = {
            let mut running = self.running.lock();
            running.next += 1;
            let id = running.next;
            // Listed before it starts: a task that ends at once must find its entry.
            running.tasks.insert(id, (name.clone(), None));
            id
        };
        let listed = Listed {
            running: self.running.clone(),
            id,
        };
        let handle = self.tracker.spawn(
            async move {
                let _listed = listed;
                if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                    tracing::error!(task = name, "a background task panicked");
                }
            }
            .instrument(span),
        );
        if let Some((_, abort)) = self.running.lock().tasks.get_mut(&id) {
            *abort = Some(handle.abort_handle());
        }
    }

    /// Cancels the token, waits for the tasks, and aborts those that have not ended after `grace`. Gives the names of
    /// the aborted.
    pub async fn stop(self, grace: Duration) -> Vec<String> {
        self.token.cancel();
        self.tracker.close();
        if tokio::time::timeout(grace, self.tracker.wait()).await.is_ok() {
            return Vec::new();
        }
        let late: Vec<_> = self.running.lock().tasks.values().cloned().collect();
        late.into_iter()
            .map(|(name, abort)| {
                if let Some(abort) = abort {
                    abort.abort();
                }
                name
            })
            .collect()
    }
}

/// Runs the body of an RPC in a task of its own, so that a caller who goes away cannot cut it in half: over the wire
/// and in-process alike, a handler's future is dropped when its call is cancelled.
///
/// A panic of the body continues in whoever awaits it.
pub async fn run_to_completion<F>(body: F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[expect(
        clippy::disallowed_methods,
        reason = "its owner is the RPC that awaits it, and it ends with the body"
    )]
    // The current span may be one of log lines alone; that of the trace is carried over beside it.
    let task = tokio::spawn(
        body.in_current_span()
            .with_context(opentelemetry::Context::current()),
    );
    match task.await {
        Ok(output) => output,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // Nobody has the handle but this function; the runtime itself is ending.
            Err(_) => std::future::pending().await,
        },
    }
}
