//! A collector of traces in this process, over OTLP as any other.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result, ensure};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use tonic::{Request, Response, Status, transport::Server};

/// A span and the service that exported it.
#[derive(Clone, Debug)]
pub(super) struct Exported {
    pub(super) service: String,
    pub(super) span: Span,
}

impl Exported {
    /// An attribute as text.
    pub(super) fn attribute(&self, key: &str) -> Option<String> {
        text_of(&self.span.attributes, key)
    }
}

/// Keeps what services export.
#[derive(Clone, Debug, Default)]
pub(super) struct Collector {
    received: Arc<Mutex<Vec<Exported>>>,
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
            let service = text_of(&attributes, "service.name").unwrap_or_default();
            let spans = resource_spans
                .scope_spans
                .into_iter()
                .flat_map(|scope| scope.spans);
            received.extend(spans.map(|span| Exported {
                service: service.clone(),
                span,
            }));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    pub(super) async fn start() -> Result<(Self, SocketAddr)> {
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

    /// Everything that was exported, once it is whole: no span came twice, and none without the one it is under.
    pub(super) fn everything(&self, clients: &[&str]) -> Result<Vec<Exported>> {
        let received = self.received.lock().ok().context("poisoned")?.clone();
        let mut ids = BTreeSet::new();
        for Exported { service, span } in &received {
            ensure!(
                ids.insert(hex(&span.span_id)),
                "{service} exported {} twice",
                span.name
            );
            ensure!(
                span.start_time_unix_nano <= span.end_time_unix_nano,
                "{service}: {} ended before it began",
                span.name
            );
        }
        for Exported { service, span } in &received {
            let parent = hex(&span.parent_span_id);
            ensure!(
                parent.is_empty() || ids.contains(&parent) || clients.contains(&parent.as_str()),
                "{service}: {} is under {parent}, which nobody exported",
                span.name
            );
        }
        Ok(received)
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn text_of(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?;
    match value.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        Value::BoolValue(flag) => Some(flag.to_string()),
        _ => None,
    }
}
