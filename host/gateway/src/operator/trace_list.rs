//! Recent traces as a table.

use std::time::{Duration, SystemTime};

use serde_json::Value;
use watchgate_telemetry::rfc3339;

use super::printable::{self, duration, printable};

/// One line for each trace, the latest first.
pub fn table(document: &Value) -> String {
    let mut rows = vec![["TIME", "DURATION", "OUTCOME", "SERVER", "NAME", "TRACE", ""].map(str::to_owned).to_vec()];
    rows.extend(document["traces"].as_array().into_iter().flatten().map(row));
    printable::table(&rows)
}

fn row(trace: &Value) -> Vec<String> {
    let text = |member: &str| printable(trace[member].as_str().unwrap_or_default());
    let marks = ["slow", "forced"].into_iter().filter(|mark| trace[*mark] == true).collect::<Vec<_>>().join(" ");
    vec![
        moment(&trace["start_time_unix_nano"]),
        duration(milliseconds(&trace["duration_ms"])),
        text("outcome"),
        text("server"),
        text("name"),
        text("trace_id"),
        marks,
    ]
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
        assert_eq!(table(&document), expected);
    }
}
