//! Task sets and readiness.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use roadstead_rpc::{Readiness, TaskSet};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{Registry, registry::LookupSpan as _};

use crate::support::eventually;

#[tokio::test]
async fn tasks_that_heed_the_token_stop() {
    let tasks = TaskSet::new(CancellationToken::new());
    let stopped = Arc::new(AtomicBool::new(false));
    let (token, flag) = (tasks.token().clone(), stopped.clone());
    tasks.spawn("heedful", async move {
        token.cancelled().await;
        flag.store(true, Ordering::SeqCst);
    });
    assert!(tasks.stop(Duration::from_secs(10)).await.is_empty());
    assert!(stopped.load(Ordering::SeqCst));
}

#[tokio::test]
async fn tasks_that_do_not_stop_are_named_and_aborted() {
    struct Guard(Arc<AtomicBool>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    let tasks = TaskSet::new(CancellationToken::new());
    let dropped = Arc::new(AtomicBool::new(false));
    let guard = Guard(dropped.clone());
    tasks.spawn("quick", async {});
    tasks.clone().spawn("stubborn", async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    });
    assert_eq!(tasks.stop(Duration::from_millis(20)).await, ["stubborn"]);
    eventually("task dropped", || dropped.load(Ordering::SeqCst)).await;
}

#[tokio::test]
async fn a_panic_ends_only_its_task() {
    let tasks = TaskSet::new(CancellationToken::new());
    let (token, went_on) = (tasks.token().clone(), Arc::new(AtomicBool::new(false)));
    let flag = went_on.clone();
    tasks.spawn("panicking", async { panic!("on purpose") });
    tasks.spawn("heedful", async move {
        token.cancelled().await;
        flag.store(true, Ordering::SeqCst);
    });
    assert!(tasks.stop(Duration::from_secs(10)).await.is_empty());
    assert!(went_on.load(Ordering::SeqCst));
}

#[tokio::test]
async fn readiness_tells_why_not() {
    let readiness = Readiness::new();
    assert_eq!(readiness.reason().as_deref(), Some("starting"));
    readiness.clone().set_ready();
    readiness.wait_ready().await;
    assert!(readiness.is_ready() && readiness.reason().is_none());
    readiness.set_not_ready("the disk is full");
    assert_eq!(
        (readiness.is_ready(), readiness.reason().as_deref()),
        (false, Some("the disk is full"))
    );
}

#[tokio::test]
async fn a_task_for_a_request_is_in_its_trace_and_a_background_task_is_not() {
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry());
    let tasks = TaskSet::new(CancellationToken::new());
    let (sender, mut parents) = tokio::sync::mpsc::unbounded_channel();
    let report = |sender: tokio::sync::mpsc::UnboundedSender<_>| async move {
        sender.send(parent_of_current_span()).unwrap();
    };
    let request = tracing::info_span!("request");
    request.in_scope(|| tasks.spawn_for_request("part", report(sender.clone())));
    assert_eq!(parents.recv().await.unwrap(), Some("request"));
    request.in_scope(|| tasks.spawn("background", report(sender)));
    assert_eq!(parents.recv().await.unwrap(), None);
}

fn parent_of_current_span() -> Option<&'static str> {
    tracing::Span::current().with_subscriber(|(id, subscriber)| {
        let registry = subscriber.downcast_ref::<Registry>().unwrap();
        registry.span(id).unwrap().parent().map(|parent| parent.name())
    })?
}
