//! Answers compressed for who takes them so.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue, VARY};
use http_body_util::Full;

use crate::answer::Answer;

/// Below this a compressed text is hardly shorter.
const LEAST: usize = 1024;

/// Whether the client takes gzip (RFC 9110, 12.5.3).
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    let mut any = false;
    for coding in headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')) {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(Some(1.0), |weight| weight.trim().parse::<f64>().ok());
        let is_wanted = weight.is_some_and(|weight| weight > 0.0);
        match name.trim().to_ascii_lowercase().as_str() {
            // What is said of gzip itself counts more than what is said of all.
            "gzip" | "x-gzip" => return is_wanted,
            "*" => any = is_wanted,
            _ => {}
        }
    }
    any
}

/// The answer with a text of its own, compressed if `gzip`. Takes milliseconds for long texts.
pub(crate) fn with_text(mut answer: Answer, text: String, gzip: bool) -> Answer {
    answer.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    let body = match gzip && text.len() >= LEAST {
        true => {
            answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            compress(text.as_bytes())
        }
        false => text.into(),
    };
    *answer.body_mut() = Full::new(body);
    answer
}

/// The bytes as a gzip file.
pub(crate) fn compress(text: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
    let written = encoder.write_all(text).and_then(|()| encoder.finish());
    written.expect("memory takes any write").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_who_takes_it() {
        let check = |accepted: &[&str], expected: bool| {
            let headers = accepted.iter().map(|value| (ACCEPT_ENCODING, HeaderValue::from_str(value).unwrap())).collect();
            assert_eq!(takes_gzip(&headers), expected, "{accepted:?}");
        };
        check(&[], false);
        check(&["gzip"], true);
        check(&["identity", "br, GZIP;q=0.5"], true);
        check(&["*"], true);
        check(&["gzip;q=0, *"], false);
        check(&["*, gzip;q=0"], false);
        check(&["*;q=0"], false);
        check(&["gzip;q=x"], false);
        check(&["gzippy, br, deflate"], false);
        check(&[""], false);
    }
}
