//! Recent traces as a table.

use std::time::{Duration, SystemTime};

use serde_json::Value;
use watchgate_telemetry::rfc3339;

use super::printable::{self, duration, fitted, printable};

/// Narrower terminals get [`narrow`] lines.
const WIDE: usize = 100;
/// Digits of a trace's id in a narrow line; `watchgate trace` takes them for the whole.
const ID: usize = 8;
/// `tool_error`, `http_error`; only `unreachable` is longer.
const OUTCOME: usize = 10;
/// `400.0ms`.
const DURATION: usize = 7;
/// `22:13:20`.
const CLOCK: usize = 8;
const SHORTEST_NAME: usize = 8;

/// One line for each trace, the latest first, in a terminal of so many columns.
pub fn table(document: &Value, width: usize) -> String {
    let traces = document["traces"].as_array().into_iter().flatten();
    if width < WIDE {
        return traces.map(|trace| narrow(trace, width)).collect();
    }
    let mut rows = vec![["TIME", "DURATION", "OUTCOME", "SERVER", "NAME", "TRACE", ""].map(str::to_owned).to_vec()];
    rows.extend(traces.map(|trace| row(trace, width / 3)));
    printable::table(&rows)
}

fn row(trace: &Value, longest_name: usize) -> Vec<String> {
    let text = |member: &str| printable(trace[member].as_str().unwrap_or_default());
    let marks = ["slow", "forced"].into_iter().filter(|mark| trace[*mark] == true).collect::<Vec<_>>().join(" ");
    vec![
        moment(&trace["start_time_unix_nano"]),
        duration(milliseconds(&trace["duration_ms"])),
        text("outcome"),
        text("server"),
        cut(text("name"), longest_name),
        text("trace_id"),
        marks,
    ]
}

/// Time of day, duration, outcome, what was asked for, and enough of the id to ask for it.
fn narrow(trace: &Value, width: usize) -> String {
    let text = |member: &str| trace[member].as_str().map(printable);
    // A tool says more in little room than its method.
    let name = text("tool").or_else(|| text("name")).unwrap_or_default();
    let others = CLOCK + DURATION + OUTCOME + ID + 4;
    let name_width = width.saturating_sub(others).min(width / 3).max(SHORTEST_NAME);
    let at = moment(&trace["start_time_unix_nano"]);
    let took = duration(milliseconds(&trace["duration_ms"]));
    let outcome = fitted(&text("outcome").unwrap_or_default(), OUTCOME);
    let id: String = text("trace_id").unwrap_or_default().chars().take(ID).collect();
    let clock = at.get(11..11 + CLOCK).unwrap_or_default();
    format!("{clock} {took:>DURATION$} {outcome} {} {id}\n", fitted(&name, name_width))
}

fn cut(text: String, width: usize) -> String {
    if text.chars().count() <= width { text } else { fitted(&text, width) }
}

/// A moment in UTC.
pub fn moment(unix_nano: &Value) -> String {
    let time = SystemTime::UNIX_EPOCH + nanoseconds(unix_nano);
    String::from_utf8_lossy(&rfc3339(time)).into_owned()
}

/// Nanoseconds that are written as a text.
pub fn nanoseconds(value: &Value) -> Duration {
    Duration::from_nanos(value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default())
}

/// A number of milliseconds.
pub fn milliseconds(value: &Value) -> Duration {
    Duration::try_from_secs_f64(value.as_f64().unwrap_or_default() / 1e3).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn traces_are_lines() {
        let document = json!({ "traces": [
            { "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "server": "weather", "name": "tools/call forecast", "outcome": "tool_error",
              "start_time_unix_nano": "1700000000123456789", "duration_ms": 400.04, "slow": true, "forced": false },
            { "trace_id": "00000000000000000000000000000001", "server": "s", "name": "tools/list", "outcome": "ok",
              "start_time_unix_nano": "1700000000000000000", "duration_ms": 0.25, "slow": false, "forced": true },
        ] });
        let expected = "\
TIME                      DURATION  OUTCOME     SERVER   NAME                 TRACE
2023-11-14T22:13:20.123Z  400.0ms   tool_error  weather  tools/call forecast  4bf92f3577b34da6a3ce929d0e0e4736  slow
2023-11-14T22:13:20.000Z  250us     ok          s        tools/list           00000000000000000000000000000001  forced
";
        assert_eq!(table(&document, 110), expected);
    }

    #[test]
    fn lines_fit_narrow_terminals() {
        let document = json!({ "traces": [
            { "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "server": "weather", "name": "tools/call forecast", "tool": "forecast",
              "outcome": "tool_error", "start_time_unix_nano": "1700000000123456789", "duration_ms": 400.04 },
            { "trace_id": "00000000000000000000000000000001", "server": "s", "name": "resources/templates/list", "outcome": "unreachable",
              "start_time_unix_nano": "1700000000000000000", "duration_ms": 1.0 },
        ] });
        let expected = "\
22:13:20 400.0ms tool_error forecast 4bf92f35
22:13:20   1.0ms unreachab… resourc… 00000000
";
        assert_eq!(table(&document, 45), expected);
        for width in 45..100 {
            assert!(table(&document, width).lines().all(|line| line.chars().count() <= width), "{width}");
        }
        let long = json!({ "traces": [{ "name": "n".repeat(200), "trace_id": "4b" }] });
        assert!(table(&long, 120).contains(&format!("{}…  4b", "n".repeat(39))), "{}", table(&long, 120));
    }
}
