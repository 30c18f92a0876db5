//! A unary gRPC call by hand: five bytes before each message, and a status in the trailers.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;

use super::connection::Answer;
use super::error::Failure;

/// Before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Statuses that are worth another try by the OTLP specification: cancelled, deadline exceeded, resource exhausted, aborted,
/// out of range, unavailable, data loss.
const PASSING: [u32; 7] = [1, 4, 8, 10, 11, 14, 15];

/// A message as it goes on the wire.
pub(super) fn frame(message: &Bytes, is_compressed: bool) -> Bytes {
    let length = u32::try_from(message.len()).expect("a batch has far less than 4 GiB");
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(is_compressed.into());
    framed.put_u32(length);
    framed.extend_from_slice(message);
    framed.freeze()
}

/// The message of an answer whose status is 0.
pub(super) fn message(answer: &Answer) -> Result<Bytes, Failure> {
    // An answer without a message has its status in the head.
    let Some(status) = status(&answer.trailers).or_else(|| status(&answer.headers)) else {
        // By the gRPC specification a proxy's 429, 502, 503 and 504 stand for unavailable.
        let why = format!("HTTP status {}, and no gRPC status", answer.status);
        let is_passing = matches!(answer.status.as_u16(), 429 | 502 | 503 | 504);
        return Err(if is_passing { Failure::passing(why) } else { Failure::last(why) });
    };
    if status != 0 {
        let text = answer.trailers.get("grpc-message").or_else(|| answer.headers.get("grpc-message"));
        let why = format!("gRPC status {status}: {}", text.and_then(|text| text.to_str().ok()).unwrap_or_default());
        return Err(if PASSING.contains(&status) { Failure::Passing { why, after: None::<Duration> } } else { Failure::last(why) });
    }
    let body = &answer.body;
    match body.first_chunk::<PREFIX>() {
        None => Ok(Bytes::new()),
        Some([0, length @ ..]) if body.len() - PREFIX >= u32::from_be_bytes(*length) as usize => {
            Ok(body.slice(PREFIX..PREFIX + u32::from_be_bytes(*length) as usize))
        }
        Some(_) => Err(Failure::last("the answer is no gRPC message")),
    }
}

fn status(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::{Answer, Failure, frame, message};

    fn answer(status: u16, grpc: Option<&'static str>, in_trailers: bool, body: &'static [u8]) -> Answer {
        let mut carrier = HeaderMap::new();
        if let Some(grpc) = grpc {
            carrier.insert("grpc-status", grpc.parse().unwrap());
        }
        let (headers, trailers) = if in_trailers { (HeaderMap::new(), carrier) } else { (carrier, HeaderMap::new()) };
        Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: Bytes::from_static(body), trailers }
    }

    #[test]
    fn a_status_decides_and_a_message_follows_its_prefix() {
        let check = |answer: Answer, expected: Result<&'static [u8], bool>| {
            let found = message(&answer).map_err(|failure| matches!(failure, Failure::Passing { .. }));
            assert_eq!(found, expected.map(Bytes::from_static), "{answer:?}");
        };
        check(answer(200, Some("0"), true, b"\0\0\0\0\x02ab"), Ok(b"ab"));
        check(answer(200, Some("0"), true, b""), Ok(b""));
        check(answer(200, Some("0"), true, b"\0\0\0\0\x03ab"), Err(false));
        check(answer(200, Some("0"), true, b"\x01\0\0\0\0"), Err(false));
        check(answer(200, Some("14"), false, b""), Err(true));
        check(answer(200, Some("8"), true, b""), Err(true));
        check(answer(200, Some("3"), true, b""), Err(false));
        check(answer(200, Some("x"), true, b""), Err(false));
        check(answer(200, None, true, b"<html>"), Err(false));
        check(answer(503, None, true, b""), Err(true));
        check(answer(404, None, true, b""), Err(false));
    }

    #[test]
    fn a_frame_says_how_long_it_is() {
        assert_eq!(frame(&Bytes::from_static(b"abc"), true), &b"\x01\0\0\0\x03abc"[..]);
    }
}
