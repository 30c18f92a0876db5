//! A trace as a waterfall: its spans as a tree, each with a bar for when it was and how long.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde_json::Value;

use super::printable::{duration, fitted, printable};
use super::trace_list::{milliseconds, moment, nanoseconds};

/// Names longer than this, or than a third of the terminal, are cut, so that the bars have room.
const LONGEST_NAME: usize = 48;
const SHORTEST_BAR: usize = 10;
/// In narrower terminals a span's kind is its first letter.
const NARROW: usize = 70;
/// `INTERNAL`, the longest kind.
const KIND: usize = 8;
/// `1000.0ms`.
const DURATION: usize = 8;

struct Line<'a> {
    depth: usize,
    span: &'a Value,
}

/// Draws the document of `GET /api/traces/ID`.
pub fn draw(trace: &Value, width: usize, attributes: bool) -> String {
    let exchanges: Vec<&Value> = trace["exchanges"].as_array().into_iter().flatten().collect();
    let spans: Vec<&Value> = exchanges.iter().flat_map(|exchange| exchange["spans"].as_array().into_iter().flatten()).collect();
    let lines = tree(&spans);
    let begin = spans.iter().map(|span| nanoseconds(&span["start_time_unix_nano"])).min().unwrap_or_default();
    let end = spans.iter().map(|span| nanoseconds(&span["end_time_unix_nano"])).max().unwrap_or_default();
    let kind = if width < NARROW { 1 } else { KIND };
    let scale = Scale { begin, length: end.saturating_sub(begin), width: 0, kind };

    let mut drawn = format!("trace {}\n", text(&trace["trace_id"]));
    for exchange in &exchanges {
        drawn.push_str(&heading(exchange));
    }
    drawn.push('\n');
    let name = lines.iter().map(|line| line.name().chars().count()).max().unwrap_or(0).min(LONGEST_NAME).min(width / 3);
    let scale = Scale { width: width.saturating_sub(kind + name + DURATION + 8).max(SHORTEST_BAR), ..scale };
    for line in &lines {
        line.draw(&mut drawn, name, &scale, attributes);
    }
    drawn
}

/// What was asked of whom and how it ended.
fn heading(exchange: &Value) -> String {
    let mut parts = vec![text(&exchange["server"]), text(&exchange["outcome"]), duration(milliseconds(&exchange["duration_ms"]))];
    parts.push(moment(&exchange["start_time_unix_nano"]));
    let ids = [("request", "request_id"), ("error", "error_id")];
    parts.extend(ids.into_iter().filter_map(|(word, member)| Some(format!("{word} {}", printable(exchange[member].as_str()?)))));
    parts.extend(["slow", "forced"].into_iter().filter(|mark| exchange[*mark] == true).map(str::to_owned));
    format!("{}\n", parts.join("  "))
}

/// Parents before children, and those in the order in which they began.
fn tree<'a>(spans: &[&'a Value]) -> Vec<Line<'a>> {
    let ids: HashSet<&str> = spans.iter().filter_map(|span| span["span_id"].as_str()).collect();
    let mut children: BTreeMap<&str, Vec<&'a Value>> = BTreeMap::new();
    for span in spans {
        // A parent that is not among them is the caller's.
        let parent = span["parent_span_id"].as_str().filter(|parent| ids.contains(parent)).unwrap_or_default();
        children.entry(parent).or_default().push(span);
    }
    for siblings in children.values_mut() {
        siblings.sort_by_key(|span| nanoseconds(&span["start_time_unix_nano"]));
    }
    let mut lines = Vec::new();
    let mut waiting: Vec<(usize, &Value)> = children.remove("").into_iter().flatten().rev().map(|span| (0, span)).collect();
    while let Some((depth, span)) = waiting.pop() {
        lines.push(Line { depth, span });
        // Taken out, so that spans that name each other as parents end too.
        let below = span["span_id"].as_str().and_then(|id| children.remove(id)).unwrap_or_default();
        waiting.extend(below.into_iter().rev().map(|child| (depth + 1, child)));
    }
    lines
}

struct Scale {
    begin: Duration,
    length: Duration,
    width: usize,
    /// Columns of the spans' kinds.
    kind: usize,
}

impl Scale {
    /// Blanks, at least one block, blanks.
    fn bar(&self, span: &Value) -> String {
        let column = |member: &str| {
            let since = nanoseconds(&span[member]).saturating_sub(self.begin).min(self.length);
            let width = u128::try_from(self.width).unwrap_or(0);
            let column = (since.as_nanos() * width + self.length.as_nanos() / 2).checked_div(self.length.as_nanos()).unwrap_or(0);
            usize::try_from(column).unwrap_or(0)
        };
        let from = column("start_time_unix_nano").min(self.width - 1);
        let blocks = column("end_time_unix_nano").saturating_sub(from).max(1);
        fitted(&format!("{}{}", " ".repeat(from), "█".repeat(blocks)), self.width)
    }
}

impl Line<'_> {
    fn name(&self) -> String {
        format!("{}{}", "  ".repeat(self.depth), text(&self.span["name"]))
    }

    fn draw(&self, drawn: &mut String, name: usize, scale: &Scale, attributes: bool) {
        let Self { span, .. } = self;
        let kind: String = fitted(&text(&span["kind"]), KIND).chars().take(scale.kind).collect();
        let took = duration(milliseconds(&span["duration_ms"]));
        drawn.push_str(&format!("{kind}  {}  |{}|  {took:>DURATION$}\n", fitted(&self.name(), name), scale.bar(span)));
        let indent = " ".repeat(scale.kind + 2 + 2 * (self.depth + 1));
        if span["status"]["code"] == "ERROR" {
            let why = span["attributes"]["error.type"].as_str().unwrap_or("error");
            let message = text(&span["status"]["message"]);
            let message = if message.is_empty() { String::new() } else { format!(": {message}") };
            drawn.push_str(&format!("{indent}! {}{message}\n", printable(why)));
        }
        for event in span["events"].as_array().into_iter().flatten() {
            let after = nanoseconds(&event["time_unix_nano"]).saturating_sub(scale.begin);
            let why = event["attributes"]["watchgate.retry.reason"].as_str();
            let why = why.map(|why| format!(": {}", printable(why))).unwrap_or_default();
            drawn.push_str(&format!("{indent}* {} at {}{why}\n", text(&event["name"]), duration(after)));
        }
        for (name, value) in span["attributes"].as_object().into_iter().flatten().filter(|_| attributes) {
            let value = value.as_str().map_or_else(|| value.to_string(), printable);
            drawn.push_str(&format!("{indent}{} = {value}\n", printable(name)));
        }
    }
}

fn text(value: &Value) -> String {
    printable(value.as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn span(id: &str, parent: Option<&str>, kind: &str, name: &str, from: u64, to: u64) -> Value {
        json!({
            "span_id": id, "parent_span_id": parent, "kind": kind, "name": name,
            "start_time_unix_nano": (1_700_000_000_000_000_000 + from * 1_000_000).to_string(),
            "end_time_unix_nano": (1_700_000_000_000_000_000 + to * 1_000_000).to_string(),
            "duration_ms": to - from, "status": { "code": "UNSET" }, "attributes": {}, "events": [],
        })
    }

    fn failed_call() -> Value {
        let mut server = span("a", Some("elsewhere"), "SERVER", "tools/call forecast", 0, 400);
        server["status"] = json!({ "code": "ERROR", "message": "no\u{7} rain" });
        server["attributes"] = json!({ "error.type": "tool_error", "watchgate.operations": 2 });
        let mut call = span("d", Some("a"), "CLIENT", "tools/call forecast", 100, 400);
        call["events"] = json!([{ "name": "retry", "time_unix_nano": "1700000000100000000", "attributes": { "watchgate.retry.reason": "connect_timeout" } }]);
        json!({
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            "exchanges": [{
                "server": "weather", "outcome": "tool_error", "duration_ms": 400, "start_time_unix_nano": "1700000000000000000",
                "request_id": "r-1", "error_id": null, "slow": true, "forced": false,
                "spans": [
                    server,
                    call,
                    span("c", Some("b"), "INTERNAL", "connect", 12, 20),
                    span("b", Some("a"), "CLIENT", "tools/call forecast", 10, 90),
                ],
            }],
        })
    }

    #[test]
    fn a_trace_is_a_tree_with_bars() {
        let expected = "\
trace 4bf92f3577b34da6a3ce929d0e0e4736
weather  tool_error  400.0ms  2023-11-14T22:13:20.000Z  request r-1  slow

SERVER    tools/call forecast    |████████████████████████████████████████|   400.0ms
            ! tool_error: no\\u{7} rain
CLIENT      tools/call forecast  | ████████                               |    80.0ms
INTERNAL      connect            | █                                      |     8.0ms
CLIENT      tools/call forecast  |          ██████████████████████████████|   300.0ms
              * retry at 100.0ms: connect_timeout
";
        assert_eq!(draw(&failed_call(), 85, false), expected);
    }

    #[test]
    fn bars_fit_narrow_terminals() {
        let drawn = draw(&failed_call(), 45, false);
        let bars: Vec<&str> = drawn.lines().filter(|line| line.contains('|')).collect();
        assert!(bars.iter().all(|line| line.chars().count() <= 45), "{drawn}");
        assert_eq!(bars[0], "S  tools/call for…  |█████████████|   400.0ms");
    }

    #[test]
    fn attributes_are_shown_where_asked() {
        let drawn = draw(&failed_call(), 85, true);
        assert!(drawn.contains("            error.type = tool_error\n            watchgate.operations = 2\n"), "{drawn}");
    }

    #[test]
    fn strange_documents_are_drawn_too() {
        let circle =
            json!({ "exchanges": [{ "spans": [span("a", Some("b"), "SERVER", "x", 5, 5), span("b", Some("a"), "SERVER", "y", 5, 5)] }] });
        let own = json!({ "exchanges": [{ "spans": [span("a", Some("a"), "SERVER", "x", 5, 5)] }] });
        for document in [json!({}), json!([]), json!({ "exchanges": [{ "spans": [{}] }] }), circle, own] {
            let drawn = draw(&document, 0, true);
            assert!(drawn.starts_with("trace "), "{drawn}");
        }
    }
}
