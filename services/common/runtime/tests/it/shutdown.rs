//! The order of shutdown.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use roadstead_rpc::{Readiness, TaskSet};
use roadstead_runtime::shutdown::Lifecycle;
use tokio::sync::oneshot;

const SECOND: Duration = Duration::from_secs(1);
/// Longer than any test may take.
const LONG: Duration = Duration::from_hours(1);

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: &str) {
        self.0.lock().expect("not poisoned").push(line.to_owned());
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().expect("not poisoned").clone()
    }
}

/// A service whose background task records when it is told to stop.
fn service(lifecycle: &mut Lifecycle, log: &Log, name: &'static str) -> Readiness {
    let readiness = Readiness::new();
    readiness.set_ready();
    // A token of its own, to see the order among services.
    let tasks = TaskSet::new(tokio_util::sync::CancellationToken::new());
    let (log, token) = (log.clone(), tasks.token().clone());
    tasks.spawn(name, async move {
        token.cancelled().await;
        log.add(&format!("{name} stopped"));
    });
    lifecycle.add((name, readiness.clone()), tasks);
    readiness
}

#[tokio::test(start_paused = true)]
async fn readiness_goes_first_then_accepting_then_requests_then_tasks() {
    let log = Log::default();
    let mut lifecycle = Lifecycle::new(5 * SECOND, 30 * SECOND);
    let auth = service(&mut lifecycle, &log, "auth");
    service(&mut lifecycle, &log, "gateway");
    let (stop, accepting, background) = (
        lifecycle.stop_token(),
        lifecycle.accepting_token(),
        lifecycle.background_token(),
    );
    let started = tokio::time::Instant::now();
    let server = log.clone();
    lifecycle.serve(async move {
        accepting.cancelled().await;
        assert!(
            started.elapsed() >= 5 * SECOND,
            "accepted until the end of the drain delay"
        );
        assert!(!auth.is_ready(), "reported as not ready before that");
        server.add("stopped accepting");
        tokio::time::sleep(20 * SECOND).await;
        assert!(
            !background.is_cancelled(),
            "tasks run while requests are in flight"
        );
        server.add("requests finished");
        Ok(())
    });
    stop.cancel();
    lifecycle.run().await.expect("an orderly end");
    assert_eq!(
        log.lines(),
        [
            "stopped accepting",
            "requests finished",
            "gateway stopped",
            "auth stopped"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn requests_are_cut_off_after_the_grace_period() {
    let log = Log::default();
    let mut lifecycle = Lifecycle::new(Duration::ZERO, 2 * SECOND);
    service(&mut lifecycle, &log, "gateway");
    let (kept, cut) = oneshot::channel::<()>();
    lifecycle.serve(async move {
        let _kept = kept;
        tokio::time::sleep(LONG).await;
        Ok(())
    });
    lifecycle.stop_token().cancel();
    let started = tokio::time::Instant::now();
    lifecycle.run().await.expect("still an orderly end");
    assert_eq!(started.elapsed().as_secs(), 2);
    assert!(cut.await.is_err(), "the request was dropped");
    assert_eq!(log.lines(), ["gateway stopped"]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_server_takes_the_process_down_in_order() {
    let log = Log::default();
    let mut lifecycle = Lifecycle::new(Duration::ZERO, SECOND);
    service(&mut lifecycle, &log, "gateway");
    lifecycle.serve(async { Err(anyhow::anyhow!("the listener broke")) });
    let error = lifecycle.run().await.expect_err("not an orderly end");
    assert_eq!(error.to_string(), "the listener broke");
    assert_eq!(log.lines(), ["gateway stopped"]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_does_not_listen_does_not_hold_the_process() {
    let mut lifecycle = Lifecycle::new(Duration::ZERO, SECOND);
    let tasks = TaskSet::new(lifecycle.background_token());
    tasks.spawn("deaf", tokio::time::sleep(LONG));
    lifecycle.add(("metadata", Readiness::new()), tasks);
    lifecycle.stop_token().cancel();
    let started = tokio::time::Instant::now();
    lifecycle.run().await.expect("an orderly end");
    assert!(started.elapsed() < 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_readiness_names_who_is_not() {
    let mut lifecycle = Lifecycle::new(Duration::ZERO, SECOND);
    let log = Log::default();
    service(&mut lifecycle, &log, "auth");
    lifecycle.add(
        ("metadata", Readiness::new()),
        TaskSet::new(lifecycle.background_token()),
    );
    let error = lifecycle.ready(SECOND).await.expect_err("metadata is not");
    assert!(error.to_string().ends_with(": metadata"), "{error}");
}
