//! The reference names everything there is, once, in tables that hold.

use std::collections::HashSet;

use watchgate_telemetry::{AccessField, Attribute, BucketGroup, EventName, Label, MetricName, SpanShape, reference_markdown};

#[test]
fn everything_has_its_row() {
    let reference = reference_markdown();
    let has_row = |name: &str, beginning: String| {
        assert!(reference.lines().any(|line| line.starts_with(&beginning)), "{name} has no row that begins with {beginning}");
    };
    for row in MetricName::all() {
        let beginning = format!("| `{}` | `{}` | {}", row.name, row.otlp_name(), row.kind.as_str());
        assert_eq!(reference.lines().filter(|line| line.starts_with(&beginning)).count(), 1, "{}", row.name);
    }
    for label in Label::ALL {
        assert!(MetricName::all().any(|row| row.labels.contains(label)), "{label:?} is on no metric");
        has_row(label.as_str(), format!("| `{}` | `{}` | ", label.as_str(), label.otlp_name()));
    }
    BucketGroup::ALL.iter().for_each(|group| has_row(group.as_str(), format!("| `{}` | ", group.as_str())));
    SpanShape::ALL.iter().for_each(|span| has_row(span.definition().name, format!("| `{}` | ", span.definition().name)));
    EventName::ALL.iter().for_each(|event| has_row(event.as_str(), format!("| `{}` | ", event.as_str())));
    Attribute::all()
        .for_each(|attribute| has_row(attribute.as_str(), format!("| `{}` | {} | ", attribute.as_str(), attribute.kind().as_str())));
    AccessField::all().for_each(|field| has_row(field.as_str(), format!("| `{}` | {} | ", field.as_str(), field.kind().as_str())));
}

#[test]
fn a_table_has_as_many_cells_in_every_row() {
    let columns = |line: &str| line.replace("\\|", "").matches('|').count();
    let reference = reference_markdown();
    let mut expected = None;
    for line in reference.lines() {
        if line.starts_with('|') {
            assert_eq!(columns(line), *expected.get_or_insert_with(|| columns(line)), "{line}");
        } else {
            expected = None;
        }
    }
}

#[test]
fn names_for_otlp_are_distinct_and_conventional() {
    let names: HashSet<String> = MetricName::all().map(|row| row.otlp_name().into_owned()).collect();
    assert_eq!(names.len(), MetricName::all().count());
    let check = |metric: MetricName, expected: &str| assert_eq!(metric.definition().otlp_name(), expected);
    check(MetricName::ServerOperationDuration, "mcp.server.operation.duration");
    check(MetricName::ClientOperationDuration, "mcp.client.operation.duration");
    check(MetricName::SessionDuration, "mcp.server.session.duration");
    check(MetricName::HttpRequests, "watchgate.http_requests");
    check(MetricName::Overhead, "watchgate.overhead");
    check(MetricName::MessageBytes, "watchgate.mcp_message");
    check(MetricName::ProcessCpu, "process.cpu.time");
    check(MetricName::ProcessStartTime, "process.start_time");
    for row in MetricName::all() {
        let attributes: HashSet<&str> = row.labels.iter().map(|label| label.otlp_name()).collect();
        assert_eq!(attributes.len(), row.labels.len(), "{}", row.name);
    }
}
