//! The forms of values in the variables; an error completes "its value ...". Pure.

use std::time::Duration;

use watchgate_telemetry::OtlpProtocol;

/// Longer than any deadline that makes sense, milliseconds.
const DAY: u64 = 86_400_000;

/// How the file would say a duration.
pub fn shown_span(span: Duration) -> String {
    format!("{}ms", span.as_millis())
}

/// `true` or `false`, in any case.
pub fn boolean(word: &str) -> Result<bool, &'static str> {
    match word.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("is neither true nor false"),
    }
}

/// How OTLP travels.
pub fn protocol(word: &str) -> Result<OtlpProtocol, &'static str> {
    match word {
        "grpc" => Ok(OtlpProtocol::Grpc),
        "http/protobuf" => Ok(OtlpProtocol::Http),
        _ => Err("is neither grpc nor http/protobuf"),
    }
}

/// A duration in milliseconds, above zero.
pub fn milliseconds(text: &str) -> Result<Duration, &'static str> {
    let found = text.parse().ok().filter(|milliseconds| (1..=DAY).contains(milliseconds));
    found.map(Duration::from_millis).ok_or("is no number of milliseconds from 1 to a day")
}

/// A number of things held in memory.
pub fn count(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|count| (1..=1_000_000).contains(count)).ok_or("is no number from 1 to 1000000")
}

/// From 0 to 1.
pub fn share(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or("is no number from 0 to 1")
}

/// Whether a list of propagators names W3C's trace context, and whether it names one that the gateway does not have.
pub fn propagators(words: &str) -> (bool, bool) {
    let words = || words.split(',').map(str::trim).filter(|word| !word.is_empty());
    (words().any(|word| word == "tracecontext"), words().any(|word| !matches!(word, "tracecontext" | "baggage" | "none")))
}

/// `NAME=VALUE,NAME=VALUE` with values percent-encoded; `None` when it is something else.
pub fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            let (name, value) = entry.split_once('=')?;
            let name = decoded(name.trim()).filter(|name| !name.is_empty())?;
            Some((name, decoded(value.trim())?))
        })
        .collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2).filter(|(digits, _)| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}
