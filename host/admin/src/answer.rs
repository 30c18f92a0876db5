//! How answers are written: JSON, or the metrics text.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use crate::compressed;
use crate::guard::TurnedAway;
use crate::query::BadParameter;
use crate::route::NoRoute;

/// A whole answer; none of them is long enough to stream.
pub(crate) type Answer = Response<Full<Bytes>>;

/// The text format's own content type.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics, compressed if `gzip`. Takes milliseconds for long texts.
pub(crate) fn metrics(text: String, gzip: bool) -> Answer {
    compressed::with_text(answer(StatusCode::OK, METRICS_TYPE, Bytes::new()), text, gzip)
}

/// A JSON document.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    let text = serde_json::to_vec(body).expect("what is shown has string keys and no failing serializer");
    answer(status, "application/json", text.into())
}

/// A JSON document that is written already.
pub(crate) fn json_text(text: String) -> Answer {
    answer(StatusCode::OK, "application/json", text.into())
}

/// A profile in the format of pprof, gzip-compressed as its readers expect it.
pub(crate) fn pprof(profile: Bytes) -> Answer {
    answer(StatusCode::OK, "application/octet-stream", profile)
}

/// An error, with a word for programs and a sentence for people.
pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> Answer {
    json(status, &serde_json::json!({ "error": { "code": code, "message": message } }))
}

/// The answer to a request with a parameter that is wrong.
pub(crate) fn bad_parameter(bad: &BadParameter) -> Answer {
    let BadParameter { name, problem } = bad;
    let error = serde_json::json!({ "code": "parameter", "parameter": name, "message": format!("`{name}` {problem}") });
    json(StatusCode::BAD_REQUEST, &serde_json::json!({ "error": error }))
}

/// The answer to a request that was not let in.
pub(crate) fn turned_away(why: TurnedAway) -> Answer {
    match why {
        TurnedAway::Host => error(StatusCode::MISDIRECTED_REQUEST, "host", "`Host` is not a name of this listener; use its address"),
        TurnedAway::Origin => error(StatusCode::FORBIDDEN, "origin", "pages of other origins may not ask"),
        TurnedAway::Token => {
            let mut answer = error(StatusCode::UNAUTHORIZED, "token", "send `Authorization: Bearer TOKEN`");
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            answer
        }
    }
}

/// The answer to a request for something that is not there.
pub(crate) fn no_route(why: NoRoute) -> Answer {
    match why {
        NoRoute::NotFound => error(StatusCode::NOT_FOUND, "not_found", "there is nothing here"),
        NoRoute::MethodNotAllowed { allow } => {
            let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &format!("this takes {allow}"));
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
            answer
        }
    }
}

fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
