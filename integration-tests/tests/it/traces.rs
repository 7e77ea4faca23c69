//! One trace from the client's request to the last service, collected over OTLP.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, Result};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::Span,
};
use reqwest::Method;
use roadstead_integration_tests::deadline::eventually;
use roadstead_integration_tests::{Cluster, Mode, in_both_modes};
use tonic::{Request, Response, Status, transport::Server};

in_both_modes!(a_pull_and_a_push_are_one_trace_each);

const REPOSITORY: &str = "traces/one";
const PULL_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PUSH_TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT_SPAN: &str = "b7ad6b7169203331";

/// Keeps what services export.
#[derive(Clone, Default)]
struct Collector {
    received: Arc<Mutex<Vec<(String, Span)>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut received = self.received.lock().map_err(|_| Status::internal("poisoned"))?;
        for resource_spans in request.into_inner().resource_spans {
            let attributes = resource_spans.resource.unwrap_or_default().attributes;
            let service = attributes
                .into_iter()
                .find(|attribute| attribute.key == "service.name")
                .and_then(|attribute| match attribute.value?.value? {
                    Value::StringValue(name) => Some(name),
                    _ => None,
                })
                .unwrap_or_default();
            let spans = resource_spans
                .scope_spans
                .into_iter()
                .flat_map(|scope| scope.spans);
            received.extend(spans.map(|span| (service.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start() -> Result<(Self, SocketAddr)> {
        let collector = Self::default();
        let incoming = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = incoming.local_addr()?;
        let service = TraceServiceServer::new(collector.clone());
        #[expect(clippy::disallowed_methods, reason = "lives as long as the test's runtime")]
        tokio::spawn(
            Server::builder()
                .add_service(service)
                .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(incoming)),
        );
        Ok((collector, address))
    }

    fn trace(&self, id: &str) -> Vec<(String, Span)> {
        let received = self
            .received
            .lock()
            .map(|spans| spans.clone())
            .unwrap_or_default();
        received
            .into_iter()
            .filter(|(_, span)| hex(&span.trace_id) == id)
            .collect()
    }

    /// Waits for a span with these ancestors, the client's own span first.
    async fn path(&self, trace: &str, path: &[(&str, &str)]) -> Result<()> {
        let limit = Duration::from_secs(20);
        let found = eventually("the whole path is exported", limit, async || {
            let spans = self.trace(trace);
            let mut parents = vec![CLIENT_SPAN.to_owned()];
            for (service, name) in path {
                parents = spans
                    .iter()
                    .filter(|(of, span)| of == service && span.name == *name)
                    .filter(|(_, span)| parents.contains(&hex(&span.parent_span_id)))
                    .map(|(_, span)| hex(&span.span_id))
                    .collect();
            }
            Ok((!parents.is_empty()).then_some(()))
        });
        found.await.with_context(|| {
            let seen: Vec<String> = self
                .trace(trace)
                .iter()
                .map(|(service, span)| {
                    let (id, parent) = (hex(&span.span_id), hex(&span.parent_span_id));
                    format!("{service}: {} {id} under {parent}", span.name)
                })
                .collect();
            format!("no path {path:?} in\n{}", seen.join("\n"))
        })
    }
}

async fn a_pull_and_a_push_are_one_trace_each(mode: Mode) -> Result<()> {
    let (collector, address) = Collector::start().await?;
    let setup = Cluster::setup(mode)
        .with_environment("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}"))
        .with_environment("OTEL_BSP_SCHEDULE_DELAY", "100");
    let cluster = setup.start().await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;

    let location = session.open_upload(REPOSITORY).await?;
    session
        .request(Method::PATCH, &location)
        .header("traceparent", &format!("00-{PUSH_TRACE}-{CLIENT_SPAN}-01"))
        .body("traced")
        .send()
        .await?
        .expect(202)?;
    let blob = session.push_blob(REPOSITORY, b"traced blob").await?;
    session
        .request(Method::GET, &format!("/v2/{REPOSITORY}/blobs/{blob}"))
        .header("traceparent", &format!("00-{PULL_TRACE}-{CLIENT_SPAN}-01"))
        .send()
        .await?
        .expect(200)?;

    let service = |name: &'static str| match mode {
        Mode::AllInOne => "roadstead".to_owned(),
        Mode::Split => format!("roadstead-{name}"),
    };
    let (gateway, metadata, blobs) = (service("gateway"), service("metadata"), service("blobs"));
    let get = "GET /v2/{name}/blobs/{digest}";
    let resolve = "roadstead.metadata.v1.ReadService/ResolveBlob";
    let read = "roadstead.blobs.v1.BlobReadService/Read";
    let patch = "PATCH /v2/{name}/blobs/uploads/{id}";
    let acquire = "roadstead.metadata.v1.UploadService/AcquireUpload";
    let append = "roadstead.blobs.v1.BlobWriteService/Append";
    for (trace, request, rpc, server) in [
        (PULL_TRACE, get, resolve, &metadata),
        (PULL_TRACE, get, read, &blobs),
        (PUSH_TRACE, patch, acquire, &metadata),
        (PUSH_TRACE, patch, append, &blobs),
    ] {
        // The caller's span, then the server's under it.
        let path = [(gateway.as_str(), request), (&gateway, rpc), (server, rpc)];
        collector.path(trace, &path).await?;
    }

    let everything = format!("{:?}", collector.received.lock().map(|spans| spans.clone()));
    assert!(
        !everything.contains(session.token()),
        "a token is in an exported span"
    );
    cluster.stop().await?;
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
