//! One trace over both sides of a call.

use std::sync::OnceLock;

use opentelemetry::{
    global,
    trace::{SpanKind, TracerProvider as _},
};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{InMemorySpanExporter, SdkTracerProvider, SpanData},
};
use rstest::rstest;
use tracing::Instrument as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::support::{Transport, World, command, eventually, read};

use Transport::{InProcess, Pipe, Tcp};

/// Collects the spans of all tests in this process; tests find their own by trace id.
fn spans() -> &'static InMemorySpanExporter {
    static SPANS: OnceLock<InMemorySpanExporter> = OnceLock::new();
    SPANS.get_or_init(|| {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).unwrap();
        global::set_text_map_propagator(TraceContextPropagator::new());
        exporter
    })
}

fn of_trace(trace_id: &str, name: &str, kind: &SpanKind) -> Option<SpanData> {
    let spans = spans().get_finished_spans().unwrap();
    spans.into_iter().find(|span| {
        span.span_context.trace_id().to_string() == trace_id && span.name == name && span.span_kind == *kind
    })
}

#[rstest]
#[tokio::test]
async fn a_trace_goes_from_caller_to_server(#[values(InProcess, Pipe, Tcp)] transport: Transport) {
    spans();
    let world = World::new(transport).await;
    let mut writer = world.writer();
    let outer = tracing::info_span!("outer");
    let response = writer
        .finish(command("traceparent"))
        .instrument(outer.clone())
        .await
        .unwrap();
    drop(outer);
    let traceparent = String::from_utf8(response.into_inner().receipt.to_vec()).unwrap();
    let parts: Vec<_> = traceparent.split('-').collect();
    assert_eq!(parts.len(), 4, "{traceparent:?}");
    let (trace_id, parent_id) = (parts[1], parts[2]);

    let name = "roadstead.blobs.v1.BlobWriteService/Finish";
    eventually("the server's span ended", || {
        of_trace(trace_id, name, &SpanKind::Server).is_some()
    })
    .await;
    eventually("the client's span ended", || {
        of_trace(trace_id, name, &SpanKind::Client).is_some()
    })
    .await;
    eventually("the outer span ended", || {
        of_trace(trace_id, "outer", &SpanKind::Internal).is_some()
    })
    .await;
    let server = of_trace(trace_id, name, &SpanKind::Server).unwrap();
    let client = of_trace(trace_id, name, &SpanKind::Client).unwrap();
    let outer = of_trace(trace_id, "outer", &SpanKind::Internal).unwrap();
    assert_eq!(client.span_context.span_id().to_string(), parent_id);
    assert_eq!(server.parent_span_id, client.span_context.span_id());
    assert_eq!(client.parent_span_id, outer.span_context.span_id());
    for span in [&server, &client] {
        let attribute = |key: &str| {
            let found = span
                .attributes
                .iter()
                .find(|attribute| attribute.key.as_str() == key);
            found
                .map(|attribute| attribute.value.to_string())
                .unwrap_or_default()
        };
        assert_eq!(attribute("rpc.system"), "grpc");
        assert_eq!(attribute("rpc.service"), "roadstead.blobs.v1.BlobWriteService");
        assert_eq!(attribute("rpc.method"), "Finish");
        assert_eq!(attribute("rpc.grpc.status_code"), "0");
    }
}

#[rstest]
#[tokio::test]
async fn the_span_of_a_stream_lasts_until_its_end(#[values(InProcess, Pipe, Tcp)] transport: Transport) {
    spans();
    let world = World::new(transport).await;
    let mut reader = world.reader();
    let outer = tracing::info_span!("outer");
    let trace_id = {
        use opentelemetry::trace::TraceContextExt as _;
        use tracing_opentelemetry::OpenTelemetrySpanExt as _;
        outer.context().span().span_context().trace_id().to_string()
    };
    let mut chunks = reader
        .read(read("", 2))
        .instrument(outer)
        .await
        .unwrap()
        .into_inner();
    let name = "roadstead.blobs.v1.BlobReadService/Read";
    assert!(
        of_trace(&trace_id, name, &SpanKind::Client).is_none(),
        "ended with the headers"
    );
    while chunks.message().await.unwrap().is_some() {}
    drop(chunks);
    eventually("both spans ended", || {
        of_trace(&trace_id, name, &SpanKind::Client).is_some()
            && of_trace(&trace_id, name, &SpanKind::Server).is_some()
    })
    .await;
}
