//! A unary gRPC call over HTTP/2: how its message is framed, and what its answer says.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>; which codes may pass by themselves is said by OTLP
//! (<https://opentelemetry.io/docs/specs/otlp/#failures>).

use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode::Indifferent;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use prost::Message;

use super::connection::Answer;
use super::error::DeliveryError;

/// One byte that says whether the message is compressed, four of its length.
const PREFIX: usize = 5;
/// Codes after which the same call may succeed: CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS.
const PASSING: [u32; 6] = [1, 4, 10, 11, 14, 15];
/// RESOURCE_EXHAUSTED, which passes where the collector says when.
const RESOURCE_EXHAUSTED: u32 = 8;
/// UNIMPLEMENTED: a gRPC server, but without this service.
const UNIMPLEMENTED: u32 = 12;

/// gRPC leaves the padding of binary headers to the sender.
const BINARY_HEADER: GeneralPurpose = GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(Indifferent));

/// Of `google.rpc.Status` what is read here.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanoseconds: i32,
}

/// The message with its prefix.
pub(super) fn frame(message: &[u8], compressed: bool) -> Bytes {
    let mut framed = Vec::with_capacity(PREFIX + message.len());
    framed.push(u8::from(compressed));
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(message);
    framed.into()
}

/// How long the server may take, as gRPC writes it.
pub(super) fn timeout(most: Duration) -> String {
    format!("{}m", most.as_millis().min(99_999_999))
}

/// The message of a successful call.
pub(super) fn read(answer: &Answer) -> Result<Bytes, DeliveryError> {
    let content_type = answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content_type.starts_with("application/grpc") {
        let found = format!("HTTP status {}, content type `{}`", answer.status.as_u16(), content_type.escape_debug());
        // A proxy on the way answers so while what is behind it is away.
        return Err(match answer.status.as_u16() {
            429 | 502 | 503 | 504 => DeliveryError::Busy { answer: found, retry_after: None },
            _ => DeliveryError::NotACollector(found),
        });
    }
    // Without a body the status stands in the headers.
    let status = |headers: &HeaderMap| headers.get("grpc-status").and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    let (code, from) = match answer.trailers.as_ref().and_then(|trailers| status(trailers).map(|code| (code, trailers))) {
        Some(found) => found,
        None => match status(&answer.headers) {
            Some(code) => (code, &answer.headers),
            None => return Err(DeliveryError::NotACollector("an answer without a gRPC status".to_owned())),
        },
    };
    if code == 0 {
        return unframe(&answer.body);
    }
    let message = from.get("grpc-message").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let said = format!("gRPC status {code} {}", message.chars().take(200).collect::<String>().escape_debug());
    let retry_after = retry_delay(from);
    Err(match code {
        UNIMPLEMENTED => DeliveryError::NotACollector(said),
        RESOURCE_EXHAUSTED if retry_after.is_some() => DeliveryError::Busy { answer: said, retry_after },
        code if PASSING.contains(&code) => DeliveryError::Busy { answer: said, retry_after },
        _ => DeliveryError::Refused(said),
    })
}

/// Compressed answers are not asked for.
fn unframe(body: &Bytes) -> Result<Bytes, DeliveryError> {
    if body.is_empty() {
        return Ok(Bytes::new());
    }
    let broken = || DeliveryError::NotACollector("a broken gRPC message".to_owned());
    let (prefix, message) = body.split_first_chunk::<PREFIX>().ok_or_else(broken)?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    if prefix[0] != 0 || usize::try_from(length).ok() != Some(message.len()) {
        return Err(broken());
    }
    Ok(body.slice(PREFIX..))
}

/// When the collector wants the next attempt, from the details of its status.
fn retry_delay(headers: &HeaderMap) -> Option<Duration> {
    let details = BINARY_HEADER.decode(headers.get("grpc-status-details-bin")?.as_bytes()).ok()?;
    let status = Status::decode(details.as_slice()).ok()?;
    let info = status.details.iter().find(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.delay?;
    Some(Duration::new(
        delay.seconds.try_into().ok()?,
        delay.nanoseconds.try_into().ok().filter(|nanoseconds| *nanoseconds < 1_000_000_000)?,
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base64::Engine;
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};
    use prost::Message;

    use super::{BINARY_HEADER, Delay, Detail, RetryInfo, Status, frame, read};
    use crate::push::DeliveryError;
    use crate::push::connection::Answer;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn answer(status: u16, head: &[(&'static str, &str)], body: &[u8], trailers: Option<&[(&'static str, &str)]>) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: headers(head), body: Bytes::copy_from_slice(body), trailers: trailers.map(headers) }
    }

    const GRPC: (&str, &str) = ("content-type", "application/grpc+proto");

    /// What is made of a call that ended with these trailers: whether it passes, and the word it is counted by.
    fn check(trailers: &[(&'static str, &str)], expected: Result<&[u8], (bool, &str)>) {
        let whole = read(&answer(200, &[GRPC], &frame(b"ok", false), Some(trailers)));
        let by_headers = [&[GRPC], trailers].concat();
        let trailers_only = read(&answer(200, &by_headers, b"", None));
        let told = |error: DeliveryError| (error.is_passing(), error.loss().as_str());
        assert_eq!(whole.as_deref().map_err(|error| told(error.clone())), expected, "{trailers:?}");
        if expected.is_err() {
            assert_eq!(trailers_only.as_deref().map_err(|error| told(error.clone())), expected, "{trailers:?}");
        }
    }

    #[test]
    fn the_status_stands_in_trailers_or_headers() {
        check(&[("grpc-status", "0")], Ok(b"ok"));
        check(&[("grpc-status", "14"), ("grpc-message", "away")], Err((true, "busy")));
        check(&[("grpc-status", "8")], Err((false, "refused")));
        check(&[("grpc-status", "3")], Err((false, "refused")));
        check(&[("grpc-status", "16")], Err((false, "refused")));
        check(&[("grpc-status", "12")], Err((false, "not_a_collector")));
        check(&[("grpc-status", "x")], Err((false, "not_a_collector")));
        check(&[], Err((false, "not_a_collector")));
    }

    #[test]
    fn a_collector_may_say_when_to_come_back() {
        let info = RetryInfo { delay: Some(Delay { seconds: 2, nanoseconds: 500_000_000 }) };
        let of_other_kind = Detail { type_url: "type.googleapis.com/google.rpc.DebugInfo".to_owned(), value: vec![1, 2] };
        let detail = Detail { type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(), value: info.encode_to_vec() };
        let details = BINARY_HEADER.encode(Status { details: vec![of_other_kind, detail] }.encode_to_vec());
        for details in [details.as_str(), details.trim_end_matches('=')] {
            let trailers = [("grpc-status", "8"), ("grpc-status-details-bin", details)];
            let error = read(&answer(200, &[GRPC], b"", Some(&trailers))).unwrap_err();
            assert_eq!(error.retry_after(), Some(Duration::from_millis(2500)));
        }
        for broken in ["%%", "AAAA", ""] {
            let trailers = [("grpc-status", "8"), ("grpc-status-details-bin", broken)];
            assert_eq!(read(&answer(200, &[GRPC], b"", Some(&trailers))).unwrap_err().loss().as_str(), "refused");
        }
    }

    #[test]
    fn what_does_not_speak_grpc_is_told_apart() {
        let check = |status: u16, content_type: &str, body: &[u8], expected: &str| {
            let trailers = [("grpc-status", "0")];
            let read = read(&answer(status, &[("content-type", content_type)], body, Some(&trailers)));
            assert_eq!(read.map_or_else(|error| error.loss().as_str(), |_| "ok"), expected, "{status} {content_type}");
        };
        check(200, "application/grpc", &frame(b"", false), "ok");
        check(200, "application/grpc", b"", "ok");
        check(200, "text/html", b"<html>", "not_a_collector");
        check(503, "text/plain", b"", "busy");
        check(404, "text/plain", b"", "not_a_collector");
        check(200, "application/grpc", b"\0\0\0\0\x09short", "not_a_collector");
        check(200, "application/grpc", b"\0\0", "not_a_collector");
        check(200, "application/grpc", &frame(b"zip", true), "not_a_collector");
    }
}
