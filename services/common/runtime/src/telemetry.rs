//! Logs, traces and metrics of a process.

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use roadstead_rpc::LOG_CONTEXT;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt as _, Targets, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Identity, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{ConfigTree, LogFormat, RuntimeConfig, TelemetryConfig};

/// The variables that switch tracing on. Without one of them nothing is exported, because the specification's default,
/// localhost:4317, would make every process without a collector complain.
const ENDPOINT_VARIABLES: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
];

/// Durations from an in-process call to a slow upload, in seconds.
const DURATION_BUCKETS: [f64; 14] = [
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Sets a process's telemetry up.
#[derive(Debug)]
pub struct Telemetry;

impl Telemetry {
    /// Installs the log subscriber, the metrics recorder, the W3C propagator and, where an `OTEL_EXPORTER_OTLP_*`
    /// endpoint is set, the trace exporter. Must run on a multi-threaded tokio runtime, once in a process.
    ///
    /// # Errors
    ///
    /// If the exporter's variables can't be used or a subscriber is installed already.
    pub fn init(
        service: &str,
        telemetry: &TelemetryConfig,
        runtime: &RuntimeConfig,
    ) -> anyhow::Result<TelemetryGuard> {
        prometheus();
        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        let provider = if exports_traces() {
            Some(tracer_provider(service)?)
        } else {
            None
        };
        let tracer = provider.as_ref().map(|provider| provider.tracer("roadstead"));
        let filter = EnvFilter::try_new(&runtime.log_filter).context("runtime.log_filter")?;
        subscriber(tracer, filter, runtime.log_format, std::io::stderr)
            .try_init()
            .context("telemetry is installed already")?;
        Ok(TelemetryGuard {
            provider,
            flush_timeout: telemetry.flush_timeout,
        })
    }

    /// As [`Telemetry::init`], with the sections of `tree`.
    ///
    /// # Errors
    ///
    /// As [`Telemetry::init`], or if a section is refused.
    pub fn from_tree(service: &str, tree: &ConfigTree) -> anyhow::Result<TelemetryGuard> {
        let mut reader = tree.reader();
        let (telemetry, runtime) = (reader.section("telemetry"), reader.section("runtime"));
        reader.finish()?;
        Self::init(service, &telemetry, &runtime)
    }
}

/// Keeps telemetry running; spans still buffered are lost unless it is [flushed](TelemetryGuard::flush).
#[derive(Debug)]
#[must_use = "spans are only exported at exit if the guard is flushed"]
pub struct TelemetryGuard {
    provider: Option<SdkTracerProvider>,
    flush_timeout: Duration,
}

impl TelemetryGuard {
    /// Exports what is buffered and ends the export. Nothing is traced afterwards.
    pub async fn flush(self) {
        let Some(provider) = self.provider else { return };
        let timeout = self.flush_timeout;
        // The exporter's thread needs this runtime to send, so waiting must not occupy one of its workers.
        let flushed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(timeout)).await;
        match flushed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "spans were lost at shutdown"),
            Err(error) => tracing::warn!(%error, "flushing spans panicked"),
        }
    }
}

/// Returns the process's metrics, installing the recorder at the first call.
pub fn prometheus() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new();
        let builder = builder
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &DURATION_BUCKETS)
            .unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed: /metrics will be empty");
        }
        handle
    })
}

fn exports_traces() -> bool {
    let set = |name: &str| std::env::var(name).is_ok_and(|value| !value.trim().is_empty());
    let is =
        |name: &str, value: &str| std::env::var(name).is_ok_and(|set| set.trim().eq_ignore_ascii_case(value));
    ENDPOINT_VARIABLES.iter().any(|name| set(name))
        && !is("OTEL_SDK_DISABLED", "true")
        && !is("OTEL_TRACES_EXPORTER", "none")
}

fn tracer_provider(service: &str) -> anyhow::Result<SdkTracerProvider> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .build()
        .context("the trace exporter (OTEL_EXPORTER_OTLP_*)")?;
    let detected = Resource::builder();
    let resource = if std::env::var("OTEL_SERVICE_NAME").is_ok_and(|name| !name.is_empty()) {
        detected.build()
    } else {
        detected.with_service_name(service.to_owned()).build()
    };
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_batch_exporter(exporter)
        .build())
}

/// Gives logs what `filter` lets through, apart from the spans that are for traces, and traces to `tracer`.
///
/// Without a tracer there is a layer that wants nothing, and not merely none: beside a layer that has a filter, one that has
/// none counts as one that wants everything, and every span would be made.
fn subscriber<W>(
    tracer: Option<SdkTracer>,
    filter: EnvFilter,
    format: LogFormat,
    writer: W,
) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let traced = if tracer.is_some() {
        // Only our own spans: those of the exporter's HTTP/2 stack would beget more of themselves.
        Targets::new()
            .with_target("roadstead", LevelFilter::INFO)
            .with_target(LOG_CONTEXT, LevelFilter::OFF)
    } else {
        Targets::new()
    };
    let traces = match tracer {
        Some(tracer) => tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .boxed(),
        None => Identity::new().boxed(),
    };
    let logged = filter_fn(|metadata| metadata.fields().field("otel.name").is_none())
        // Without it the hint of `filter` is lost, and every span of the HTTP/2 stack is looked at.
        .with_max_level_hint(LevelFilter::TRACE)
        .and(filter);
    tracing_subscriber::registry()
        .with(traces.with_filter(traced))
        .with(log_layer(format, writer).with_filter(logged))
}

/// Logs go to stderr: stdout belongs to what the program has to say.
fn log_layer<S, W>(format: LogFormat, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let text = match format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    if text {
        layer.with_ansi(std::io::stderr().is_terminal()).boxed()
    } else {
        layer
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn without_an_exporter_no_span_of_traces_is_made_and_lines_have_their_context() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(None, EnvFilter::new("info"), LogFormat::Json, move || {
            writer.clone()
        });
        assert_eq!(subscriber.max_level_hint(), Some(LevelFilter::INFO));
        tracing::subscriber::with_default(subscriber, || {
            let traced = tracing::info_span!("http.server", otel.name = "GET /", request_id = "hidden");
            assert!(traced.is_disabled());
            let logged =
                tracing::error_span!(target: LOG_CONTEXT, parent: &traced, "request", request_id = "shown");
            logged.in_scope(|| traced.in_scope(|| tracing::info!(status = 200, "request")));
        });
        let line = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let span = r#""span":{"request_id":"shown","name":"request"}"#;
        assert!(line.contains(r#""status":200"#) && line.contains(span), "{line}");
    }
}
