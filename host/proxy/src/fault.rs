//! The gateway's own errors towards a client: status, JSON-RPC code, reason and blame in one table.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use watchgate_mcp::{Outcome, RequestId, rpc_error};
use watchgate_telemetry::Limit;

use crate::body::Body;
use crate::error_id::ErrorId;

/// Makes the variants of [`Fault`] and what each of them stands for.
macro_rules! faults {
    ($($(#[$doc:meta])+ $fault:ident $(($detail:ty))?: $status:ident $code:ident $reason:literal $blame:literal $outcome:ident $message:literal;)+) => {
        /// Why the gateway answers instead of the server.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Fault {
            $($(#[$doc])+ $fault $(($detail))?,)+
        }

        #[cfg(test)]
        impl Fault {
            const REASONS: &'static [&'static str] = &[$($reason,)+];
        }

        impl Fault {
            fn row(self) -> Row {
                match self {
                    $(Self::$fault { .. } => Row {
                        status: StatusCode::$status,
                        code: rpc_error::$code,
                        message: $message,
                        reason: $reason,
                        blame: $blame,
                        outcome: Outcome::$outcome,
                    },)+
                }
            }
        }
    };
}

// Status, JSON-RPC code, reason, whose fault it is, outcome; then what the client is told. Neither 400 nor 404 unless the specification asks for it: a dual-era
// client would fall back to an older protocol.
faults! {
    /// The path belongs to no server.
    NoRoute: BAD_GATEWAY UNREACHABLE "no_route" "client" HttpError
        "no MCP server is mounted at this path";
    /// The request body is over the cap.
    TooLarge: PAYLOAD_TOO_LARGE TOO_LARGE "request_too_large" "client" HttpError
        "the request body is larger than the gateway allows";
    /// More header fields than a request may have.
    TooManyHeaders: REQUEST_HEADER_FIELDS_TOO_LARGE TOO_LARGE "too_many_headers" "client" HttpError
        "the request has more header fields than the gateway allows";
    /// The client sent its body too slowly.
    SlowBody: REQUEST_TIMEOUT TIMEOUT "slow_body" "client" Timeout
        "the request body took too long";
    /// The client's body broke off or was malformed.
    BrokenBody: REQUEST_TIMEOUT TIMEOUT "broken_body" "client" Cancelled
        "the request body could not be read";
    /// The server could not be connected to.
    Unreachable: BAD_GATEWAY UNREACHABLE "unreachable" "upstream" Unreachable
        "the MCP server cannot be reached";
    /// The server closed the connection before the head of its answer, or answered with something that is not HTTP.
    BrokenAnswer: BAD_GATEWAY UNREACHABLE "broken_answer" "upstream" Aborted
        "the MCP server broke off before it answered";
    /// No connection in time.
    ConnectTimeout: GATEWAY_TIMEOUT TIMEOUT "connect_timeout" "upstream" Timeout
        "the MCP server did not accept a connection in time";
    /// No head in time.
    HeadTimeout: GATEWAY_TIMEOUT TIMEOUT "head_timeout" "upstream" Timeout
        "the MCP server did not answer in time";
    /// A redaction policy denied an opaque body, or an answer that cannot be read or is too large to be looked at.
    DeniedRequest: FORBIDDEN DENIED "denied" "plugin" Denied
        "denied by a redaction policy";
    /// The same for an answer.
    DeniedAnswer: BAD_GATEWAY DENIED "denied" "plugin" Denied
        "denied by a redaction policy";
    /// A request that a reverse proxy cannot forward: CONNECT, or a transfer coding other than chunked.
    Unsupported: NOT_IMPLEMENTED UNREACHABLE "unsupported" "client" HttpError
        "this gateway forwards neither CONNECT nor transfer codings other than chunked";
    /// The server sent nothing for too long in the middle of its answer.
    SilentAnswer: GATEWAY_TIMEOUT TIMEOUT "silent_answer" "upstream" Timeout
        "the MCP server stopped in the middle of its answer";
    /// A header that mirrors the message is not encoded as it says.
    HeaderMismatch: BAD_REQUEST HEADER_MISMATCH "header_mismatch" "client" Denied
        "a header that mirrors the message is not encoded as it says";
    /// `Host` is not on the allow-list.
    ForeignHost: FORBIDDEN DENIED "host_not_allowed" "client" HttpError
        "this gateway does not answer to this Host";
    /// `Origin` is not on the allow-list.
    ForeignOrigin: FORBIDDEN DENIED "origin_not_allowed" "client" HttpError
        "this gateway does not answer pages of this Origin";
    /// No key or token that the gateway lets in.
    Unauthorized: UNAUTHORIZED DENIED "unauthorized" "client" HttpError
        "this gateway needs a bearer key or token that it knows";
    /// The client asks more often than it may.
    RateLimited(RetryAfter): TOO_MANY_REQUESTS RATE_LIMITED "rate_limited" "client" HttpError
        "too many requests";
    /// The client has as many event streams as it may.
    TooManyStreams: TOO_MANY_REQUESTS RATE_LIMITED "too_many_streams" "client" HttpError
        "too many event streams at once";
    /// The server has as many exchanges as it may.
    Saturated: SERVICE_UNAVAILABLE UNAVAILABLE "saturated" "gateway" HttpError
        "the MCP server has as many requests at once as this gateway lets it have";
    /// The message does not fit beside those that are held whole already.
    NoRoom: SERVICE_UNAVAILABLE UNAVAILABLE "no_room" "gateway" HttpError
        "this gateway holds as many bytes of messages as it may";
    /// The circuit breaker of every endpoint is open.
    BreakerOpen(RetryAfter): SERVICE_UNAVAILABLE UNAVAILABLE "circuit_open" "upstream" Unreachable
        "the MCP server has failed too often and is left alone for a while";
    /// The same by the hand of an operator.
    BreakerOpenByHand(RetryAfter): SERVICE_UNAVAILABLE UNAVAILABLE "circuit_open" "gateway" Unreachable
        "an operator keeps requests from the MCP server for now";
    /// A required plugin is not live.
    PluginMissing: SERVICE_UNAVAILABLE UNAVAILABLE "required_plugin_not_live" "gateway" HttpError
        "a plugin that this gateway requires is not live";
}

/// Seconds after which another try makes sense, rounded up: at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetryAfter(u32);

impl RetryAfter {
    /// Not before this long.
    pub(crate) fn new(wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self(u32::try_from(seconds).unwrap_or(u32::MAX).max(1))
    }
}

struct Row {
    status: StatusCode,
    code: i64,
    message: &'static str,
    reason: &'static str,
    blame: &'static str,
    outcome: Outcome,
}

impl Fault {
    /// From the wait that a breaker asks for.
    pub(crate) fn breaker_open(wait: Duration) -> Self {
        Self::BreakerOpen(RetryAfter::new(wait))
    }

    /// The limit that it is counted for.
    pub(crate) fn limit(self) -> Option<Limit> {
        match self {
            Self::TooLarge => Some(Limit::RequestSize),
            Self::TooManyHeaders => Some(Limit::RequestHeaders),
            Self::RateLimited(_) => Some(Limit::Rate),
            Self::TooManyStreams => Some(Limit::Streams),
            Self::Saturated => Some(Limit::Concurrency),
            Self::NoRoom => Some(Limit::HeldBytes),
            _ => None,
        }
    }

    /// From the wait that a breaker asks for that an operator has opened.
    pub(crate) fn breaker_open_by_hand(wait: Duration) -> Self {
        Self::BreakerOpenByHand(RetryAfter::new(wait))
    }

    fn retry_after(self) -> Option<u32> {
        match self {
            Self::PluginMissing | Self::TooManyStreams => Some(5),
            Self::Saturated | Self::NoRoom => Some(1),
            Self::RateLimited(RetryAfter(seconds))
            | Self::BreakerOpen(RetryAfter(seconds))
            | Self::BreakerOpenByHand(RetryAfter(seconds)) => Some(seconds),
            _ => None,
        }
    }

    /// How the exchange ended.
    pub(crate) fn outcome(self) -> Outcome {
        self.row().outcome
    }

    /// The HTTP status.
    pub(crate) fn status(self) -> StatusCode {
        self.row().status
    }

    /// Whose fault it is: `client`, `upstream`, `plugin` or `gateway`.
    pub(crate) fn blame(self) -> &'static str {
        self.row().blame
    }

    /// The `error_type` label: the reason, a closed set.
    pub(crate) fn reason(self) -> &'static str {
        self.row().reason
    }

    /// Whether the client is one that the gate, the guard or a limit turns away, whatever it asks for.
    pub(crate) fn turns_away(self) -> bool {
        matches!(self, Self::ForeignHost | Self::ForeignOrigin | Self::Unauthorized | Self::RateLimited(_) | Self::TooManyStreams)
    }

    /// What the client is told, in words.
    pub(crate) fn message(self) -> &'static str {
        self.row().message
    }

    /// The code of the JSON-RPC error.
    pub(crate) fn code(self) -> i64 {
        self.row().code
    }

    /// The answer, as a JSON-RPC error for `id`.
    pub(crate) fn response(self, id: Option<&RequestId>, error_id: &ErrorId) -> Response<Body> {
        let row = self.row();
        let body = rpc_error::response(id, row.code, row.message, row.reason, error_id.as_str());
        let mut response = json(row.status, Bytes::from(body));
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A JSON answer of the gateway's own.
pub(crate) fn json(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The JSON-RPC error that takes the place of a denied message.
pub(crate) fn denial(id: Option<&RequestId>, error_id: &ErrorId) -> Vec<u8> {
    rpc_error::response(id, rpc_error::DENIED, "denied by a redaction policy", "denied", error_id.as_str())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use watchgate_telemetry::{ERROR_WORDS, Label, MetricName, label_values};

    use super::*;

    #[test]
    fn the_words_are_those_that_are_documented() {
        // A tool's error, and an HTTP error, have no word; what went well has no error.
        let has_word = |outcome: &Outcome| !matches!(outcome, Outcome::Ok | Outcome::ToolError | Outcome::HttpError);
        let outcomes = Outcome::ALL.into_iter().filter(has_word).map(Outcome::as_str);
        let words: BTreeSet<&str> = Fault::REASONS.iter().copied().chain(outcomes).collect();
        assert_eq!(ERROR_WORDS.into_iter().collect::<BTreeSet<_>>(), words);
        assert_eq!(label_values(MetricName::HttpRequests, Label::Outcome).unwrap(), Outcome::ALL.map(Outcome::as_str));
    }
}
