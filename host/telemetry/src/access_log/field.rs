//! The members that an access line can have: a closed set, from which the configuration chooses.

/// What the values of a member are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Flag,
}

impl FieldKind {
    /// The word in the reference.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Flag => "boolean",
        }
    }
}

/// The name of no member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no field of the access log; there are: {known}", known = AccessField::names())]
pub struct UnknownField(String);

macro_rules! fields {
    ($($field:ident $name:literal $kind:ident $unit:literal $meaning:literal;)+) => {
        /// A member of the access line. Those that say nothing are left out of a line.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum AccessField {
            $(#[doc = $meaning] $field,)+
        }

        impl AccessField {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$field,)+];

            /// The name of the member.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$field => $name,)+
                }
            }

            /// What its values are.
            pub const fn kind(self) -> FieldKind {
                match self {
                    $(Self::$field => FieldKind::$kind,)+
                }
            }

            /// In what its values are counted; empty where that makes no sense.
            pub const fn unit(self) -> &'static str {
                match self {
                    $(Self::$field => $unit,)+
                }
            }

            /// One or two sentences: what it says, and when it is there.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$field => $meaning,)+
                }
            }
        }
    };
}

fields! {
    Time "time" Text "" "When the request's head had arrived: UTC with milliseconds, by RFC 3339.";
    Type "type" Text "" "`access`. The gateway's own log says `log`.";
    Level "level" Text "" "`INFO`; `WARN` for slow calls, for what ended as `cancelled`, `denied` or `tool_error`, and for what is the client's fault; else `ERROR`.";
    TraceId "trace_id" Text "" "The trace of the exchange, 32 hexadecimal digits.";
    SpanId "span_id" Text "" "The span of the exchange within it, 16 hexadecimal digits.";
    Sampled "sampled" Flag "" "Whether the trace of the exchange goes to the recent traces or the exporter; false for most where `traces.ratio` is small. Absent where nothing is traced, and for calls that are answered on another stream.";
    RequestId "request_id" Text "" "`X-Request-ID` as received or made, redacted; its first 128 bytes.";
    Server "server" Text "" "The configured name of the MCP server.";
    HttpMethod "http_method" Text "" "The HTTP method: `GET`, `POST`, `DELETE`, `OPTIONS` or `_other`.";
    Status "status" Integer "" "The HTTP status sent to the client; 0 when it left before a head was sent.";
    Outcome "outcome" Text "" "How it ended: `ok`, `tool_error`, `rpc_error`, `http_error`, `denied`, `timeout`, `unreachable`, `cancelled` or `aborted`.";
    Duration "duration_ms" Number "ms" "From the request's head to the last byte of the answer.";
    Read "read_ms" Number "ms" "The part spent waiting for the request's body; absent below a millisecond.";
    Upstream "upstream_ms" Number "ms" "The part spent waiting for the upstream server, connecting included.";
    Connect "connect_ms" Number "ms" "The part of that spent opening a connection; absent when one was open.";
    Plugins "plugins_ms" Number "ms" "The part spent in plugins.";
    Write "write_ms" Number "ms" "The part spent passing on what the server had sent, waiting for a client that is slow to take it included; absent below a millisecond.";
    Slow "slow" Flag "" "True for calls that took at least `slow_call_threshold`; else absent.";
    RequestBytes "request_bytes" Integer "bytes" "Bytes of the request body.";
    ResponseBytes "response_bytes" Integer "bytes" "Bytes of the response body.";
    Operations "operations" Integer "" "How many JSON-RPC requests and notifications the exchange carried.";
    McpMethod "mcp_method" Text "" "The method of the first message; `_other` when the specification does not define it, absent when there is none.";
    Name "name" Text "" "The tool or prompt that the first message names, when the server listed it or answered without error; else `_other`.";
    NameKind "name_kind" Text "" "What that names: `tool`, `prompt` or `resource`.";
    RpcErrorCode "rpc_error_code" Integer "" "The code of a JSON-RPC error in the answer.";
    Session "session" Text "" "The first eight bytes of the SHA-256 of the session's id, never the id, which is a credential; of HTTP+SSE, of the path and query that its messages are posted to.";
    ProtocolVersion "protocol_version" Text "" "The MCP revision in use, where it is known.";
    Fault "fault" Text "" "Whose fault an error is: `client`, `upstream`, `plugin` or `gateway`. The codes -32700, -32600, -32601, -32602 and -32002, and statuses from 400 to 499, are the client's.";
    ErrorId "error_id" Text "" "The id that the client got in the gateway's own error.";
    AuthResult "auth_result" Text "" "What the gate found where it did not let the client in: one of its own results of `watchgate_auth_total`.";
    Client "client" Text "" "The client's address and port.";
    ClientName "client_name" Text "" "The name of the client's key, or `jwt:` and the name in its token; its first 128 bytes.";
    Endpoint "endpoint" Text "" "The authority of the endpoint that was chosen, where the server has several.";
    Attempts "attempts" Integer "" "How often the request was tried, where more than once.";
    Cause "cause" Text "" "Why the last try brought no answer, or not all of it: `dns`, `refused`, `unroutable`, `tls_untrusted`, `tls_handshake`, `timeout`, `reset`, `closed`, `not_http` or `_other`.";
}

impl AccessField {
    /// Every member, in the order of a line without configuration.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied()
    }

    /// The member of this name.
    ///
    /// # Errors
    /// When there is none; the message names all there are.
    pub fn parse(name: &str) -> Result<Self, UnknownField> {
        Self::all().find(|field| field.as_str() == name).ok_or_else(|| UnknownField(name.to_owned()))
    }

    fn names() -> String {
        Self::all().map(Self::as_str).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{AccessField, UnknownField};

    #[test]
    fn every_field_is_found_by_its_own_name() {
        let names: HashSet<&str> = AccessField::all().map(AccessField::as_str).collect();
        assert_eq!(names.len(), AccessField::all().count());
        for field in AccessField::all() {
            assert_eq!(AccessField::parse(field.as_str()), Ok(field));
            assert!(field.meaning().ends_with('.'), "{field:?}: the meaning is a sentence");
            assert_eq!(field.as_str().ends_with("_ms"), field.unit() == "ms", "{field:?}");
            assert_eq!(field.as_str().ends_with("_bytes"), field.unit() == "bytes", "{field:?}");
        }
    }

    #[test]
    fn an_unknown_field_is_answered_with_the_known_ones() {
        for bad in ["", "Time", "trace", "password"] {
            let error = AccessField::parse(bad).unwrap_err();
            assert_eq!(error, UnknownField(bad.to_owned()));
            assert!(error.to_string().contains("time, type, level, trace_id"), "{error}");
        }
    }
}
