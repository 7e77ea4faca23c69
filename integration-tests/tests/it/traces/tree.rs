//! Traces as text that a person can compare.

use opentelemetry_proto::tonic::trace::v1::{Status, span::SpanKind, status::StatusCode};

use super::collector::{Exported, hex};

/// A trace as the lines of a tree: service, kind, name and outcome of each span, siblings in the order in which they began.
pub(super) fn render(spans: &[Exported], trace: &str) -> Vec<String> {
    let mut spans: Vec<&Exported> = spans
        .iter()
        .filter(|exported| hex(&exported.span.trace_id) == trace)
        .collect();
    spans.sort_by_key(|exported| exported.span.start_time_unix_nano);
    let ids: Vec<String> = spans.iter().map(|exported| hex(&exported.span.span_id)).collect();
    let mut lines = Vec::new();
    for root in &spans {
        let parent = hex(&root.span.parent_span_id);
        if !ids.contains(&parent) {
            lines.push(parent.trim_start_matches('0').to_owned());
            add_with_children(&mut lines, &spans, root, 1);
        }
    }
    lines
}

fn add_with_children(lines: &mut Vec<String>, spans: &[&Exported], exported: &Exported, depth: usize) {
    lines.push(format!("{:indent$}{}", "", line(exported), indent = depth * 2));
    for child in spans {
        if child.span.parent_span_id == exported.span.span_id {
            add_with_children(lines, spans, child, depth + 1);
        }
    }
}

fn line(exported: &Exported) -> String {
    let span = &exported.span;
    let service = exported.service.trim_start_matches("roadstead-");
    let kind = match span.kind() {
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        _ => "inside",
    };
    let rpc_code = || {
        let code = exported.attribute("rpc.grpc.status_code")?.parse().ok()?;
        Some(format!("{:?}", tonic::Code::from_i32(code)))
    };
    let outcome = exported
        .attribute("http.response.status_code")
        .or_else(rpc_code)
        // A task has its name for an outcome: it is done when the span ends.
        .or_else(|| exported.attribute("name"))
        .unwrap_or_default();
    let status = match span.status.as_ref().map(Status::code) {
        Some(StatusCode::Error) => " ERROR",
        Some(StatusCode::Ok) => " OK",
        _ => "",
    };
    format!("{service} {kind} {} {outcome}{status}", span.name)
}
