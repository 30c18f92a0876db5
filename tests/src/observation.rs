//! What a real client saw, made comparable between two runs.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The steps of one run of a client, in order, normalised.
#[derive(Clone, Debug, PartialEq)]
pub struct Observations {
    steps: Vec<Value>,
}

impl Observations {
    /// Parses a client's output and checks it against the expectations of the plan it followed.
    ///
    /// # Errors
    /// When a line is not JSON, the run was cut short, or a step did not give what its plan expects.
    pub fn parse(output: &str, plan: &str) -> Result<Self> {
        let plan: Value = serde_json::from_str(plan).context("plan")?;
        let steps = output
            .lines()
            .map(|line| serde_json::from_str(&normalised(line)).with_context(|| format!("not JSON: {line}")))
            .collect::<Result<Vec<Value>>>()?;
        let observations = Self { steps };
        ensure!(observations.exchanges().is_some(), "the client did not come to the end of its plan");
        for planned in plan["steps"].as_array().context("a plan has steps")? {
            if let Some(seen) = observations.step(planned["id"].as_str().context("a step has an id")?) {
                let expected = planned.get("expect").with_context(|| format!("{planned} expects nothing"))?;
                ensure!(contains(seen, expected), "expected {expected}\n     saw {seen}");
            }
        }
        Ok(observations)
    }

    /// What was seen at the step with this id of the plan.
    pub fn step(&self, id: &str) -> Option<&Value> {
        self.steps.iter().find(|step| step["step"] == id)
    }

    /// How many steps there were.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there was no step at all.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The client's HTTP exchanges, sorted: each a line with the HTTP method, the JSON-RPC method,
    /// the status and the response headers.
    pub fn exchanges(&self) -> Option<&Vec<Value>> {
        self.step("exchanges")?["result"].as_array()
    }

    /// The first step that differs from `other`'s, as text; `None` when both saw the same.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let ends = Value::Null;
        let longer = self.steps.len().max(other.steps.len());
        (0..longer).find_map(|n| {
            let (ours, theirs) = (self.steps.get(n).unwrap_or(&ends), other.steps.get(n).unwrap_or(&ends));
            (ours != theirs).then(|| format!("{ours}\n{theirs}"))
        })
    }
}

/// Whether `seen` has everything that `expected` has: objects by key, arrays from the front,
/// numbers by value.
fn contains(seen: &Value, expected: &Value) -> bool {
    match (seen, expected) {
        (Value::Object(seen), Value::Object(expected)) => {
            expected.iter().all(|(key, value)| seen.get(key).is_some_and(|seen| contains(seen, value)))
        }
        (Value::Array(seen), Value::Array(expected)) => {
            seen.len() >= expected.len() && seen.iter().zip(expected).all(|(seen, value)| contains(seen, value))
        }
        (Value::Number(seen), Value::Number(expected)) => seen.as_f64() == expected.as_f64(),
        _ => seen == expected,
    }
}

/// The text with what differs from run to run replaced: session and event ids (UUIDs, or 32
/// hexadecimal digits) and times of day. Nothing else is hidden.
fn normalised(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == ':';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_word) {
        let (before, from_word) = rest.split_at(start);
        let end = from_word.find(|c| !is_word(c)).unwrap_or(from_word.len());
        let (word, after) = from_word.split_at(end);
        out.push_str(before);
        out.push_str(match word {
            _ if is_id(word) => "<id>",
            _ if is_time_of_day(word) => "<time>",
            "AM" | "PM" => "<half>",
            _ => word,
        });
        rest = after;
    }
    out + rest
}

fn is_id(word: &str) -> bool {
    let hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts: Vec<&str> = word.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    parts.iter().all(|part| hex(part)) && (lengths == [8, 4, 4, 4, 12] || lengths == [32])
}

fn is_time_of_day(word: &str) -> bool {
    let parts: Vec<&str> = word.split(':').collect();
    parts.len() == 3 && parts.iter().all(|part| (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_normalised(text: &str, expected: &str) {
        assert_eq!(normalised(text), expected);
    }

    #[test]
    fn only_ids_and_times_are_hidden() {
        check_normalised("from session 99d38e03-191f-4e29-9068-38d4be10bc46.", "from session <id>.");
        check_normalised(r#""mcp-session-id":"0406f29ae5db4caa9538284e2ea2719a""#, r#""mcp-session-id":"<id>""#);
        check_normalised("created at 1:48:19\u{202f}PM", "created at <time>\u{202f}<half>");
        check_normalised("Ålesund 127.0.0.1:80 2026-07-28 a:b:c é", "Ålesund 127.0.0.1:80 2026-07-28 a:b:c é");
    }

    fn check_contains(seen: &str, expected: &str, answer: bool) {
        let parse = |text| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(contains(&parse(seen), &parse(expected)), answer, "{seen} {expected}");
    }

    #[test]
    fn an_expectation_names_only_what_matters() {
        check_contains(r#"{"a":[1.0,{"b":2,"c":3}],"d":4}"#, r#"{"a":[1,{"b":2}]}"#, true);
        check_contains(r#"{"a":[1]}"#, r#"{"a":[1,2]}"#, false);
        check_contains(r#"{"a":null}"#, r#"{"a":{}}"#, false);
        check_contains(r#"{}"#, r#"{"a":null}"#, false);
    }
}
