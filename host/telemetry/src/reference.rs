//! The reference of everything that the gateway emits, as Markdown: written from the closed sets, so that it cannot be wrong.

use std::fmt::Write;

use crate::access_log::AccessField;
use crate::buckets::BucketGroup;
use crate::label_values::{ERROR_WORDS, closed_sets};
use crate::log::MEMBERS;
use crate::names::{Label, MetricName, Unit};
use crate::trace::{Attribute, EventName, SpanShape};

/// The reference; `docs/telemetry.md` holds it.
pub fn reference_markdown() -> String {
    let mut out = String::new();
    for section in [metrics, labels, buckets, spans, attributes, access_line, own_log] {
        section(&mut out);
    }
    out
}

/// A section with a table.
fn table(out: &mut String, heading: &str, introduction: &str, columns: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let separator = if out.is_empty() { "" } else { "\n" };
    write!(out, "{separator}## {heading}\n\n{introduction}\n\n| {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len()))
        .expect("a String takes any text");
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        writeln!(out, "| {} |", cells.join(" | ")).expect("a String takes any text");
    }
}

fn code(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!("`{name}`") }
}

fn metrics(out: &mut String) {
    let introduction = "\
`GET /metrics` on the admin listener serves them in the Prometheus text format; with a push configured, the same values go out by OTLP under the
second name, with the unit there and with cumulative temporality. Plugins add series of their own, which carry a label `plugin` and end with the
plugin; by OTLP they keep their names.";
    let columns = ["metric", "by OTLP", "type", "unit", "labels", "meaning"];
    let rows = MetricName::all().map(|row| {
        let labels: Vec<String> = row.labels.iter().map(|label| code(label.as_str())).collect();
        let kind = match row.buckets {
            Some(group) => format!("{}, buckets `{}`", row.kind.as_str(), group.as_str()),
            None => row.kind.as_str().to_owned(),
        };
        let unit = if row.unit() == Unit::None { "" } else { row.unit().as_str() };
        vec![code(row.name), code(&row.otlp_name()), kind, unit.to_owned(), labels.join(", "), row.help.to_owned()]
    });
    table(out, "Metrics", introduction, &columns, rows);
}

fn labels(out: &mut String) {
    let introduction = "\
By OTLP a label that is empty is left out. Values from outside are labels only while they come from a set that is known or bounded;
`GET /api/cardinality` tells what went to `_other`.";
    let rows = Label::ALL.iter().map(|label| vec![code(label.as_str()), code(label.otlp_name()), label.meaning().to_owned()]);
    table(out, "Labels", introduction, &["label", "by OTLP", "values"], rows);
    let introduction = "\
Labels that take no other values than these. Beside them, `error_type` has the specification's codes and the gateway's own, HTTP statuses and
`tool_error`.";
    let words = |words: &[&str]| words.iter().map(|word| code(word)).collect::<Vec<_>>().join(", ");
    let rows = closed_sets().map(|(label, metrics, values)| {
        let metrics = match metrics {
            [] => "every one that has it".to_owned(),
            metrics => words(&metrics.iter().map(|metric| metric.as_str()).collect::<Vec<_>>()),
        };
        vec![code(label.as_str()), metrics, words(&values)]
    });
    let errors = [vec![code(Label::ErrorType.as_str()), "every one that has it".to_owned(), words(&ERROR_WORDS)]];
    table(out, "Closed sets", introduction, &["label", "of", "values"], rows.chain(errors));
}

fn buckets(out: &mut String) {
    let introduction = "Upper bounds without configuration; `+Inf` follows them.";
    let rows = BucketGroup::ALL.iter().map(|group| {
        let bounds: Vec<String> = group.default_bounds().iter().map(ToString::to_string).collect();
        vec![code(group.as_str()), bounds.join(", ")]
    });
    table(out, "Buckets", introduction, &["group", "bounds"], rows);
}

fn spans(out: &mut String) {
    let introduction = "\
In a name, what stands in braces is filled in; for an HTTP method that is `_OTHER`, the word is `HTTP`. A SERVER span is no error where the mistake is
the client's: codes such as -32602, and what the gateway turns away; else its status says what the server said of the error, at most 256 bytes of it and
redacted, or what the gateway did. Unlike the conventions for HTTP have it there is no `url.path`: paths of clients are recorded nowhere.";
    let rows = SpanShape::ALL.iter().map(|shape| {
        let span = shape.definition();
        vec![code(span.name), span.kind.as_str().to_owned(), span.meaning.trim().to_owned()]
    });
    table(out, "Spans", introduction, &["span", "kind", "meaning"], rows);
    let rows = EventName::ALL.iter().map(|event| vec![code(event.as_str()), event.meaning().trim().to_owned()]);
    table(out, "Events on spans", "Moments within a span.", &["event", "meaning"], rows);
}

fn attributes(out: &mut String) {
    let introduction = "Of spans and of the events on them.";
    let rows = Attribute::all()
        .map(|attribute| vec![code(attribute.as_str()), attribute.kind().as_str().to_owned(), attribute.meaning().to_owned()]);
    table(out, "Attributes", introduction, &["attribute", "type", "meaning"], rows);
}

fn access_line(out: &mut String) {
    let introduction = "\
One JSON object a line for each HTTP exchange. Without configuration a line has all of these members, but for those that have nothing to say.";
    let rows = AccessField::all()
        .map(|field| vec![code(field.as_str()), field.kind().as_str().to_owned(), field.unit().to_owned(), field.meaning().to_owned()]);
    table(out, "Access log", introduction, &["member", "type", "unit", "meaning"], rows);
}

fn own_log(out: &mut String) {
    let introduction = "\
With `format = \"json\"` one JSON object a line for each event. An event's own fields stand beside these members, under their names; names that mean
something secret have `***` for a value: those that end in a word such as `password`, `token`, `secret`, `key`, `credential`, `cookie` or
`authorization`, and configured ones.";
    let rows = MEMBERS.iter().map(|(name, meaning)| vec![code(name), "string".to_owned(), (*meaning).to_owned()]);
    table(out, "Own log", introduction, &["member", "type", "meaning"], rows);
}
