//! `GET /api/traces` and `GET /api/traces/ID`: the recent traces that the gateway keeps itself.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use serde_json::{Map, Value, json};
use watchgate_telemetry::{Attribute, AttributeValue, SpanRecord, SpanStatus, Telemetry, TraceFilter, TraceId, TraceRecord, TraceSummary};

use crate::answer::{self, Answer};
use crate::percent::decoded;
use crate::query::{BadParameter, Query};

/// What stands before the trace's id.
pub(crate) const PREFIX: &str = "/api/traces/";
/// Traces in one list at most.
const MOST_TRACES: usize = 1000;

/// The recent traces that fit the query, the latest first.
pub(crate) fn list(telemetry: &Telemetry, query: Option<&str>) -> Answer {
    match filter(query, SystemTime::now()) {
        Err(bad) => answer::bad_parameter(&bad),
        Ok(filter) => {
            let traces: Vec<Value> = telemetry.recent_traces(&filter).iter().map(summary).collect();
            answer::json(StatusCode::OK, &json!({ "traces": traces }))
        }
    }
}

/// Every exchange of one trace with its spans. The trace is named by its id or the beginning of it, or by the request id or error id of an exchange.
pub(crate) fn one(telemetry: &Telemetry, path: &str) -> Answer {
    let Some(text) = path.strip_prefix(PREFIX).and_then(decoded) else {
        return answer::error(StatusCode::BAD_REQUEST, "trace_id", "the id is not percent-encoded UTF-8");
    };
    let id = match telemetry.meant_traces(&text).as_slice() {
        [] => return answer::error(StatusCode::NOT_FOUND, "no_such_trace", "no trace of this id is kept; see GET /api/traces"),
        [only] => *only,
        [latest, ..] if is_of_exchange(telemetry, latest, &text) => *latest,
        _ => return answer::error(StatusCode::CONFLICT, "ambiguous", "the ids of several traces begin so"),
    };
    let records = telemetry.recent_trace(&id);
    let exchanges: Vec<Value> = records.iter().map(|record| exchange(record)).collect();
    answer::json(StatusCode::OK, &json!({ "trace_id": id.to_string(), "exchanges": exchanges }))
}

/// Whether a text is an id of one of the trace's exchanges: clients may use a request id again, and mean the last one.
fn is_of_exchange(telemetry: &Telemetry, id: &TraceId, text: &str) -> bool {
    let is_id = |id: &Option<Box<str>>| id.as_deref() == Some(text);
    telemetry.recent_trace(id).iter().any(|record| is_id(&record.request_id) || is_id(&record.error_id))
}

fn filter(query: Option<&str>, now: SystemTime) -> Result<TraceFilter, BadParameter> {
    let mut query = Query::parse(query)?;
    let filter = TraceFilter {
        server: query.text("server"),
        tool: query.text("tool"),
        method: query.text("method"),
        outcome: query.text("outcome"),
        min_duration: query.duration("min_duration")?,
        since: query.moment("since", now)?,
        until: query.moment("until", now)?,
        errors: query.flag("errors")?,
        slow: query.flag("slow")?,
        request_id: query.text("request_id"),
        error_id: query.text("error_id"),
        trace_id: query.text("trace_id").map(|id| id.to_ascii_lowercase()),
        limit: query.count("limit", MOST_TRACES)?,
    };
    query.end().map(|()| filter)
}

fn summary(trace: &TraceSummary) -> Value {
    json!({
        "trace_id": trace.trace_id.to_string(),
        "server": &*trace.server,
        "name": trace.span_name,
        "mcp_method": trace.mcp_method,
        "tool": trace.name,
        "outcome": trace.outcome,
        "start_time_unix_nano": unix_nanos(trace.started),
        "duration_ms": milliseconds(trace.duration),
        "spans": trace.spans,
        "request_id": trace.request_id,
        "error_id": trace.error_id,
        "error": trace.is_error,
        "slow": trace.is_slow,
        "forced": trace.is_forced,
    })
}

fn exchange(record: &TraceRecord) -> Value {
    json!({
        "server": &*record.server,
        "mcp_method": record.mcp_method,
        "tool": record.name,
        "outcome": record.outcome,
        "start_time_unix_nano": unix_nanos(record.started),
        "duration_ms": milliseconds(record.duration),
        "request_id": record.request_id,
        "error_id": record.error_id,
        "trace_state": record.tracestate,
        "error": record.is_error,
        "slow": record.is_slow,
        "forced": record.is_forced,
        "spans": record.spans.iter().map(span).collect::<Vec<_>>(),
    })
}

/// The members of OTLP's JSON, in this listener's spelling and with attributes as one object.
fn span(span: &SpanRecord) -> Value {
    let status = match &span.status {
        SpanStatus::Unset => json!({ "code": "UNSET" }),
        SpanStatus::Error(message) => json!({ "code": "ERROR", "message": message }),
    };
    let event = |event: &watchgate_telemetry::SpanEvent| json!({ "name": event.name.as_str(), "time_unix_nano": unix_nanos(event.at), "attributes": attributes(&event.attributes) });
    let links = span.links.iter().map(|(trace, span)| json!({ "trace_id": trace.to_string(), "span_id": span.to_string() }));
    json!({
        "span_id": span.span_id.to_string(),
        "parent_span_id": span.parent.map(|parent| parent.to_string()),
        "parent_is_remote": span.parent_is_remote,
        "name": span.name,
        "kind": span.kind.as_str(),
        "start_time_unix_nano": unix_nanos(span.started),
        "end_time_unix_nano": unix_nanos(span.ended()),
        "duration_ms": milliseconds(span.duration),
        "status": status,
        "attributes": attributes(&span.attributes),
        "links": links.collect::<Vec<_>>(),
        "events": span.events.iter().map(event).collect::<Vec<_>>(),
    })
}

fn attributes(attributes: &[(Attribute, AttributeValue)]) -> Map<String, Value> {
    attributes.iter().map(|(name, found)| (name.as_str().to_owned(), json!(found))).collect()
}

/// As a text, like OTLP: as a number it would lose its last digits in most readers.
fn unix_nanos(time: SystemTime) -> String {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_from_the_query() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let check = |query: &str, expected: Result<TraceFilter, &str>| {
            assert_eq!(filter(Some(query), now).map_err(|bad| bad.name), expected.map_err(str::to_owned), "{query}");
        };
        check("", Ok(TraceFilter::default()));
        check(
            "server=weather&tool=get+it&min_duration=300ms&since=10s&errors&slow=true&limit=5&request_id=r%2F1&error_id=e-1&trace_id=4BF9",
            Ok(TraceFilter {
                server: Some("weather".to_owned()),
                tool: Some("get it".to_owned()),
                min_duration: Some(Duration::from_millis(300)),
                since: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(990)),
                errors: true,
                slow: true,
                limit: Some(5),
                request_id: Some("r/1".to_owned()),
                error_id: Some("e-1".to_owned()),
                trace_id: Some("4bf9".to_owned()),
                ..TraceFilter::default()
            }),
        );
        check("min_duration=300", Err("min_duration"));
        check("until=noon", Err("until"));
        check("limit=100000", Err("limit"));
        check("sever=weather", Err("sever"));
    }
}
