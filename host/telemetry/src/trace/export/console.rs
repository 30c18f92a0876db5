//! Traces on standard output, one JSON object a line, for looking at while developing.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use crate::push::{Accepted, DeliveryError, Destination};
use crate::trace::attribute::{Attribute, AttributeValue};
use crate::trace::config::TracesConfig;
use crate::trace::record::{SpanRecord, SpanStatus, TraceRecord};

/// Writes with the thread that exports: one that waits for a slow terminal makes the queue overflow, and nothing else.
pub(super) struct Console {
    service_name: String,
}

impl Console {
    pub fn new(config: &TracesConfig) -> Self {
        Self { service_name: config.service_name.clone() }
    }

    /// One line for each trace.
    fn lines(&self, batch: &[Arc<TraceRecord>]) -> String {
        batch.iter().map(|record| format!("{}\n", self.line(record))).collect()
    }

    fn line(&self, record: &TraceRecord) -> Value {
        let spans: Vec<Value> = record.spans.iter().map(|span| span_value(record, span)).collect();
        json!({
            "type": "trace",
            "service": self.service_name,
            "trace_id": record.trace_id.to_string(),
            "server": &*record.server,
            "outcome": record.outcome,
            "mcp_method": record.mcp_method,
            "name": record.name,
            "started_us": since_epoch(record.started),
            "duration_us": microseconds(record.duration),
            "request_id": record.request_id,
            "error_id": record.error_id,
            "spans": spans,
        })
    }
}

impl Destination<Arc<TraceRecord>> for Console {
    fn name(&self) -> String {
        "standard output".to_owned()
    }

    async fn deliver(&mut self, batch: &[Arc<TraceRecord>]) -> Result<Accepted, DeliveryError> {
        let lines = self.lines(batch);
        let mut output = io::stdout().lock();
        // A batch of which a part is written is not written again: lines that stand twice mislead more than ones that lack.
        match output.write_all(lines.as_bytes()).and_then(|()| output.flush()) {
            Ok(()) => Ok(Accepted::default()),
            Err(error) => Err(DeliveryError::Refused(error.to_string())),
        }
    }
}

fn span_value(record: &TraceRecord, span: &SpanRecord) -> Value {
    let offset = span.started.duration_since(record.started).unwrap_or_default();
    let mut value = json!({
        "name": span.name,
        "kind": span.kind.as_str(),
        "span_id": span.span_id.to_string(),
        "parent": span.parent.map(|parent| parent.to_string()),
        "offset_us": microseconds(offset),
        "duration_us": microseconds(span.duration),
        "attributes": attributes(&span.attributes),
    });
    if let SpanStatus::Error(message) = &span.status {
        value["error"] = json!(message);
    }
    if !span.events.is_empty() {
        let events = span.events.iter().map(
            |event| json!({ "name": event.name.as_str(), "at_us": since_epoch(event.at), "attributes": attributes(&event.attributes) }),
        );
        value["events"] = events.collect();
    }
    if !span.links.is_empty() {
        let links = span.links.iter().map(|(trace, span)| json!({ "trace_id": trace.to_string(), "span_id": span.to_string() }));
        value["links"] = links.collect();
    }
    value
}

fn attributes(attributes: &[(Attribute, AttributeValue)]) -> Map<String, Value> {
    attributes.iter().map(|(attribute, found)| (attribute.as_str().to_owned(), json!(found))).collect()
}

fn since_epoch(time: SystemTime) -> u64 {
    microseconds(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use serde_json::{Value, json};

    use super::Console;
    use crate::error_type::ErrorType;
    use crate::trace::{
        Attribute, OperationTarget, SpanEvent, SpanId, SpanKind, SpanProtocol, SpanRecord, TraceId, TraceRecord, TracesConfig,
    };

    #[test]
    fn a_trace_is_one_line_of_json_whatever_it_holds() {
        let (started, took) = (SystemTime::UNIX_EPOCH + Duration::from_secs(9), Duration::from_millis(5));
        let (root_id, child_id) = (SpanId::new([1; 8]).unwrap(), SpanId::new([2; 8]).unwrap());
        let hostile = "a\nb\r\u{0}\u{2028}\"\\";
        let mut root = SpanRecord::operation(root_id, SpanKind::Server, Some("tools/call"), OperationTarget::Tool(hostile), started, took);
        root.fail(SpanProtocol::Mcp, ErrorType::ToolError, Some(hostile.to_owned().into()));
        root.events.push(SpanEvent::retry(started, "connect_failed"));
        root.links.push((TraceId::new([3; 16]).unwrap(), child_id));
        let mut child = SpanRecord::connect(child_id, started + took / 5, took / 5).within(root_id);
        child.set(Attribute::ConnectionReused, false);
        let record = TraceRecord {
            trace_id: TraceId::new([4; 16]).unwrap(),
            spans: vec![root, child],
            server: "weather".into(),
            outcome: "tool_error",
            name: Some(hostile.into()),
            mcp_method: Some("tools/call"),
            started,
            duration: took,
            request_id: None,
            error_id: None,
            tracestate: None,
            is_slow: false,
            is_error: true,
            is_forced: false,
            head_sampled: true,
        };
        let lines = Console::new(&TracesConfig::default()).lines(&[Arc::new(record.clone()), Arc::new(record)]);
        assert_eq!((lines.lines().count(), lines.ends_with('\n')), (2, true));
        let value: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        assert_eq!((&value["trace_id"], &value["duration_us"]), (&json!("04".repeat(16)), &json!(5000)));
        let [root, child] = value["spans"].as_array().unwrap().as_slice() else { panic!("two spans") };
        assert_eq!((&root["error"], &root["parent"], &root["kind"]), (&json!(hostile), &Value::Null, &json!("SERVER")));
        assert_eq!(root["attributes"]["gen_ai.tool.name"], json!(hostile));
        assert_eq!(root["events"][0]["name"], json!("retry"));
        assert_eq!(root["links"][0]["trace_id"], json!("03".repeat(16)));
        assert_eq!((&child["parent"], &child["offset_us"]), (&json!("01".repeat(8)), &json!(1000)));
        assert_eq!((&child["attributes"], child.get("error")), (&json!({ "watchgate.connection.reused": false }), None));
    }
}
