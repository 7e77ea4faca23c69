//! Metrics and traces of calls, for both stacks.

use std::{
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Instant,
};

use http::{HeaderMap, HeaderName, HeaderValue};
use metrics::{Counter, Histogram};
use opentelemetry::{
    global,
    propagation::{Extractor, Injector},
    trace::TraceContextExt as _,
};
use tonic::{Code, Status};
use tower::Service;
use tracing::{Instrument as _, Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::{
    body::{Lifetime, end_with},
    call::{Call, OutcomeFuture, Response},
    method::Method,
};

/// The target of spans that only give log lines their context. They are of level ERROR, so that no filter that lets a line
/// through takes its context away. Spans with an `otel.name` are only for traces: what they hold would be formatted for
/// the log as well, and where nobody collects traces they are not made at all.
pub const LOG_CONTEXT: &str = "roadstead_log";

/// Which end of the call a layer is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// Counts and times calls.
#[derive(Clone)]
pub(crate) struct Metrics<S> {
    inner: S,
    table: Arc<Table>,
}

impl<S> Metrics<S> {
    pub(crate) fn new(inner: S, side: Side) -> Self {
        let methods = (0..Method::count()).map(|_| OnceLock::new()).collect();
        Self {
            inner,
            table: Arc::new(Table { side, methods }),
        }
    }
}

impl<S> Service<Call> for Metrics<S>
where
    S: Service<Call, Response = Response, Error = Status>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Status;
    type Future = OutcomeFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> OutcomeFuture {
        let measured = Measured {
            table: self.table.clone(),
            method: call.method,
            started: Instant::now(),
            ended: false,
        };
        let response = self.inner.call(call);
        Box::pin(async move { end_with(measured, response.await) })
    }
}

/// Handles of the metrics, so that a call neither allocates nor looks them up. They are bound to the recorder that is
/// installed at a method's first call.
struct Table {
    side: Side,
    methods: Box<[OnceLock<MethodMetrics>]>,
}

struct MethodMetrics {
    duration: Histogram,
    /// By status code.
    requests: [OnceLock<Counter>; 17],
}

impl Table {
    fn record(&self, method: &'static Method, code: Code, started: Instant) {
        let (requests, duration) = match self.side {
            Side::Client => ("rpc_client_requests_total", "rpc_client_duration_seconds"),
            Side::Server => ("rpc_server_requests_total", "rpc_server_duration_seconds"),
        };
        let metrics = self.methods[method.index].get_or_init(|| MethodMetrics {
            duration: metrics::histogram!(duration, "service" => method.service, "method" => method.name),
            requests: Default::default(),
        });
        metrics.duration.record(started.elapsed());
        metrics.requests[code as usize]
            .get_or_init(|| {
                metrics::counter!(
                    requests, "service" => method.service, "method" => method.name, "code" => code_name(code)
                )
            })
            .increment(1);
    }
}

/// The code's name in the gRPC specification.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

struct Measured {
    table: Arc<Table>,
    method: &'static Method,
    started: Instant,
    ended: bool,
}

impl Lifetime for Measured {
    fn end(&mut self, code: Code) {
        self.ended = true;
        self.table.record(self.method, code, self.started);
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        if !self.ended {
            self.end(if std::thread::panicking() {
                Code::Internal
            } else {
                Code::Cancelled
            });
        }
    }
}

/// Gives each call a span, and carries the trace from client to server.
#[derive(Clone)]
pub(crate) struct Trace<S> {
    inner: S,
    side: Side,
}

impl<S> Trace<S> {
    pub(crate) fn new(inner: S, side: Side) -> Self {
        Self { inner, side }
    }
}

impl<S> Service<Call> for Trace<S>
where
    S: Service<Call, Response = Response, Error = Status>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Status;
    type Future = OutcomeFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> OutcomeFuture {
        let span = match self.side {
            Side::Client => client_span(call.method, call.request.headers_mut()),
            Side::Server => server_span(call.method, call.request.headers()),
        };
        if span.is_disabled() {
            return Box::pin(self.inner.call(call));
        }
        let response = span.in_scope(|| self.inner.call(call)).instrument(span.clone());
        let side = self.side;
        Box::pin(async move { end_with(Traced { span, side }, response.await) })
    }
}

fn client_span(method: &'static Method, headers: &mut HeaderMap) -> Span {
    let span = tracing::info_span!(
        "rpc.client",
        otel.name = method.full_name,
        otel.kind = "client",
        otel.status_code = Empty,
        rpc.system = "grpc",
        rpc.service = method.service,
        rpc.method = method.name,
        rpc.grpc.status_code = Empty,
    );
    // A filter may silence this span and still let an outer one through, whose trace goes on.
    let carrier = if span.is_disabled() {
        Span::current()
    } else {
        span.clone()
    };
    if !carrier.is_disabled() {
        let context = carrier.context();
        if context.span().span_context().is_valid() {
            global::get_text_map_propagator(|propagator| {
                propagator.inject_context(&context, &mut Headers(headers));
            });
        }
    }
    span
}

fn server_span(method: &'static Method, headers: &HeaderMap) -> Span {
    // In-process the caller's span is the current one here. Over the wire nothing is; so only the headers count, always.
    let span = tracing::info_span!(
        parent: None,
        "rpc.server",
        otel.name = method.full_name,
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.system = "grpc",
        rpc.service = method.service,
        rpc.method = method.name,
        rpc.grpc.status_code = Empty,
    );
    if !span.is_disabled() && headers.contains_key("traceparent") {
        let context = global::get_text_map_propagator(|propagator| propagator.extract(&HeadersRef(headers)));
        // Fails when no subscriber exports traces; then nobody misses the parent.
        let _ = span.set_parent(context);
    }
    span
}

struct Traced {
    span: Span,
    side: Side,
}

impl Lifetime for Traced {
    fn end(&mut self, code: Code) {
        self.span.record("rpc.grpc.status_code", code as i32);
        if is_error(self.side, code) {
            self.span.record("otel.status_code", "ERROR");
        }
    }

    fn span(&self) -> Option<&Span> {
        Some(&self.span)
    }
}

/// Whose error a code is, by the semantic conventions for gRPC: to a client every code but OK, to a server only those that
/// are its own doing. That something is not there is an answer.
fn is_error(side: Side, code: Code) -> bool {
    match side {
        Side::Client => code != Code::Ok,
        Side::Server => matches!(
            code,
            Code::Unknown
                | Code::DeadlineExceeded
                | Code::Unimplemented
                | Code::Internal
                | Code::Unavailable
                | Code::DataLoss
        ),
    }
}

struct Headers<'a>(&'a mut HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

struct HeadersRef<'a>(&'a HeaderMap);

impl Extractor for HeadersRef<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}
