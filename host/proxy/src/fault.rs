//! The gateway's own errors towards a client: status, JSON-RPC code, reason and blame in one table.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use watchgate_mcp::{Outcome, RequestId, rpc_error};

use crate::body::Body;
use crate::error_id::ErrorId;

/// Why the gateway answers instead of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The path belongs to no server.
    NoRoute,
    /// The request body is over the cap.
    TooLarge,
    /// The client sent its body too slowly.
    SlowBody,
    /// The client's body broke off or was malformed.
    BrokenBody,
    /// The server could not be connected to.
    Unreachable,
    /// The server closed the connection before the head of its answer, or answered with something that is not HTTP.
    BrokenAnswer,
    /// No connection in time.
    ConnectTimeout,
    /// No head in time.
    HeadTimeout,
    /// A redaction policy denied an opaque body, or an answer that cannot be read or is too large to be looked at.
    DeniedRequest,
    /// The same for an answer.
    DeniedAnswer,
    /// A required plugin is not live.
    PluginMissing,
    /// A request that a reverse proxy cannot forward: CONNECT, or a transfer coding other than chunked.
    Unsupported,
    /// The server sent nothing for too long in the middle of its answer.
    SilentAnswer,
    /// A header that mirrors the message is not encoded as it says.
    HeaderMismatch,
    /// `Host` is not on the allow-list.
    ForeignHost,
    /// `Origin` is not on the allow-list.
    ForeignOrigin,
    /// No key or token that the gateway lets in.
    Unauthorized,
    /// The client asks more often than it may.
    RateLimited(RetryAfter),
    /// The client has as many event streams as it may.
    TooManyStreams,
    /// The server has as many exchanges as it may.
    Saturated,
    /// The circuit breaker of every endpoint is open.
    BreakerOpen(RetryAfter),
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
    fn row(self) -> Row {
        let row = |status, code, message, reason, blame, outcome| Row { status, code, message, reason, blame, outcome };
        match self {
            // 404 would tell a dual-era client to fall back to an older protocol; so would 400.
            Self::NoRoute => row(
                StatusCode::BAD_GATEWAY,
                rpc_error::UNREACHABLE,
                "no MCP server is mounted at this path",
                "no_route",
                "client",
                Outcome::Unreachable,
            ),
            Self::TooLarge => row(
                StatusCode::PAYLOAD_TOO_LARGE,
                rpc_error::TOO_LARGE,
                "the request body is larger than the gateway allows",
                "request_too_large",
                "client",
                Outcome::HttpError,
            ),
            Self::SlowBody => row(
                StatusCode::REQUEST_TIMEOUT,
                rpc_error::TIMEOUT,
                "the request body took too long",
                "slow_body",
                "client",
                Outcome::Timeout,
            ),
            Self::BrokenBody => row(
                StatusCode::REQUEST_TIMEOUT,
                rpc_error::TIMEOUT,
                "the request body could not be read",
                "broken_body",
                "client",
                Outcome::Cancelled,
            ),
            Self::Unreachable => row(
                StatusCode::BAD_GATEWAY,
                rpc_error::UNREACHABLE,
                "the MCP server cannot be reached",
                "unreachable",
                "upstream",
                Outcome::Unreachable,
            ),
            Self::BrokenAnswer => row(
                StatusCode::BAD_GATEWAY,
                rpc_error::UNREACHABLE,
                "the MCP server broke off before it answered",
                "broken_answer",
                "upstream",
                Outcome::Aborted,
            ),
            Self::ConnectTimeout => row(
                StatusCode::GATEWAY_TIMEOUT,
                rpc_error::TIMEOUT,
                "the MCP server did not accept a connection in time",
                "connect_timeout",
                "upstream",
                Outcome::Timeout,
            ),
            Self::HeadTimeout => row(
                StatusCode::GATEWAY_TIMEOUT,
                rpc_error::TIMEOUT,
                "the MCP server did not answer in time",
                "head_timeout",
                "upstream",
                Outcome::Timeout,
            ),
            Self::DeniedRequest => {
                row(StatusCode::FORBIDDEN, rpc_error::DENIED, "denied by a redaction policy", "denied", "plugin", Outcome::Denied)
            }
            Self::DeniedAnswer => {
                row(StatusCode::BAD_GATEWAY, rpc_error::DENIED, "denied by a redaction policy", "denied", "plugin", Outcome::Denied)
            }
            Self::Unsupported => row(
                StatusCode::NOT_IMPLEMENTED,
                rpc_error::UNREACHABLE,
                "this gateway forwards neither CONNECT nor transfer codings other than chunked",
                "unsupported",
                "client",
                Outcome::HttpError,
            ),
            Self::SilentAnswer => row(
                StatusCode::GATEWAY_TIMEOUT,
                rpc_error::TIMEOUT,
                "the MCP server stopped in the middle of its answer",
                "silent_answer",
                "upstream",
                Outcome::Timeout,
            ),
            Self::HeaderMismatch => row(
                StatusCode::BAD_REQUEST,
                rpc_error::HEADER_MISMATCH,
                "a header that mirrors the message is not encoded as it says",
                "header_mismatch",
                "client",
                Outcome::Denied,
            ),
            Self::ForeignHost => row(
                StatusCode::FORBIDDEN,
                rpc_error::DENIED,
                "this gateway does not answer to this Host",
                "host_not_allowed",
                "client",
                Outcome::Denied,
            ),
            Self::ForeignOrigin => row(
                StatusCode::FORBIDDEN,
                rpc_error::DENIED,
                "this gateway does not answer pages of this Origin",
                "origin_not_allowed",
                "client",
                Outcome::Denied,
            ),
            Self::Unauthorized => row(
                StatusCode::UNAUTHORIZED,
                rpc_error::DENIED,
                "this gateway needs a bearer key or token that it knows",
                "unauthorized",
                "client",
                Outcome::Denied,
            ),
            Self::RateLimited(_) => row(
                StatusCode::TOO_MANY_REQUESTS,
                rpc_error::RATE_LIMITED,
                "too many requests",
                "rate_limited",
                "client",
                Outcome::HttpError,
            ),
            Self::TooManyStreams => row(
                StatusCode::TOO_MANY_REQUESTS,
                rpc_error::RATE_LIMITED,
                "too many event streams at once",
                "too_many_streams",
                "client",
                Outcome::HttpError,
            ),
            Self::Saturated => row(
                StatusCode::SERVICE_UNAVAILABLE,
                rpc_error::UNAVAILABLE,
                "the MCP server has as many requests at once as this gateway lets it have",
                "saturated",
                "gateway",
                Outcome::HttpError,
            ),
            Self::BreakerOpen(_) => row(
                StatusCode::SERVICE_UNAVAILABLE,
                rpc_error::UNAVAILABLE,
                "the MCP server has failed too often and is left alone for a while",
                "circuit_open",
                "upstream",
                Outcome::Unreachable,
            ),
            Self::PluginMissing => row(
                StatusCode::SERVICE_UNAVAILABLE,
                rpc_error::UNAVAILABLE,
                "a plugin that this gateway requires is not live",
                "required_plugin_not_live",
                "gateway",
                Outcome::HttpError,
            ),
        }
    }

    /// From the wait that a breaker asks for.
    pub(crate) fn breaker_open(wait: Duration) -> Self {
        Self::BreakerOpen(RetryAfter::new(wait))
    }

    fn retry_after(self) -> Option<u32> {
        match self {
            Self::PluginMissing | Self::TooManyStreams => Some(5),
            Self::Saturated => Some(1),
            Self::RateLimited(RetryAfter(seconds)) | Self::BreakerOpen(RetryAfter(seconds)) => Some(seconds),
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

    /// The answer, as a JSON-RPC error for `id`.
    pub(crate) fn response(self, id: Option<&RequestId>, error_id: &ErrorId) -> Response<Body> {
        let row = self.row();
        let body = rpc_error::response(id, row.code, row.message, row.reason, error_id.as_str());
        let mut response = json(row.status, Bytes::from(body));
        if self == Self::TooLarge {
            // The rest of the body may still be under way; what follows it on this connection cannot be found.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
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
