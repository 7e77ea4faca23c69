//! What is counted. The recorder is bound to a thread, so these calls stay in-process.

use metrics_exporter_prometheus::PrometheusBuilder;
use roadstead_rpc::{CallPolicy, Peer};

use crate::support::{Transport, World, command, read, writer_over};

#[test]
fn calls_are_counted_on_both_sides_by_their_code() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let world = World::new(Transport::InProcess).await;
            let (mut writer, mut reader) = (world.writer(), world.reader());
            writer.finish(command("")).await.unwrap();
            writer.finish(command("")).await.unwrap();
            writer.finish(command("error")).await.unwrap_err();
            writer.finish(command("panic")).await.unwrap_err();
            let mut chunks = reader.read(read("then-error", 1)).await.unwrap().into_inner();
            chunks.message().await.unwrap();
            chunks.message().await.unwrap_err();
            drop(reader.read(read("then-hang", 1)).await.unwrap());
            let refused = world.channel_as(Peer::Events, CallPolicy::default());
            writer_over(refused).finish(command("")).await.unwrap_err();
        });
    });
    let rendered = recorder.handle().render();
    let count = |name: &str, method: &str, code: &str| {
        let line = rendered.lines().find(|line| {
            line.starts_with(&format!("{name}{{"))
                && line.contains(&format!("method=\"{method}\""))
                && line.contains(&format!("code=\"{code}\""))
        });
        line.and_then(|line| line.rsplit(' ').next())
            .and_then(|count| count.parse().ok())
            .unwrap_or(0_u64)
    };
    for side in ["rpc_client_requests_total", "rpc_server_requests_total"] {
        assert_eq!(count(side, "Finish", "OK"), 2, "{side}: {rendered}");
        assert_eq!(
            count(side, "Finish", "FAILED_PRECONDITION"),
            1,
            "{side}: {rendered}"
        );
        assert_eq!(count(side, "Finish", "INTERNAL"), 1, "{side}: {rendered}");
        assert_eq!(
            count(side, "Read", "FAILED_PRECONDITION"),
            1,
            "{side}: {rendered}"
        );
        assert_eq!(count(side, "Read", "CANCELLED"), 1, "{side}: {rendered}");
    }
    // The server refuses before it measures; its caller sees the refusal.
    assert_eq!(
        count("rpc_client_requests_total", "Finish", "PERMISSION_DENIED"),
        1,
        "{rendered}"
    );
    assert!(rendered.contains("rpc_server_duration_seconds"), "{rendered}");
}
