//! Logs, traces and metrics of a process.

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
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
        let traces = provider.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("roadstead"))
                .with_threads(false)
                .with_tracked_inactivity(false)
                // Only our own spans: those of the exporter's HTTP/2 stack would beget more of themselves.
                .with_filter(Targets::new().with_target("roadstead", LevelFilter::INFO))
        });
        let filter = EnvFilter::try_new(&runtime.log_filter).context("runtime.log_filter")?;
        tracing_subscriber::registry()
            .with(traces)
            .with(log_layer(runtime.log_format).with_filter(filter))
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

/// Logs go to stderr: stdout belongs to what the program has to say.
fn log_layer<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let text = match format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
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
