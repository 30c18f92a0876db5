//! What one access line says, and in which words.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tracing::Level;

use super::field::AccessField;
use crate::bounded_names::cut;
use crate::facts::{AccessLine, HttpMethod};
use crate::intern::OTHER;
use crate::json::member;
use crate::server::KnownNames;
use crate::wall_time::rfc3339;

/// An exchange on its way to the writer: owned and unformatted, because formatting is the writer's work.
pub(crate) struct AccessRecord {
    pub names: Arc<KnownNames>,
    pub started: SystemTime,
    pub http_method: HttpMethod,
    pub status: u16,
    pub outcome: &'static str,
    pub duration: Duration,
    pub upstream: Duration,
    pub plugins: Duration,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub is_slow: bool,
    pub line: AccessLine,
}

impl AccessRecord {
    /// Appends the line and its line feed.
    pub fn append_to(&self, out: &mut Vec<u8>, fields: &[AccessField]) {
        out.push(b'{');
        for field in fields {
            self.append_member(*field, out);
        }
        out.extend_from_slice(b"}\n");
    }

    /// How grave it is, see [`AccessField::Level`].
    pub fn level(&self) -> Level {
        match (self.outcome, self.line.fault) {
            ("ok", _) if !self.is_slow => Level::INFO,
            ("ok" | "cancelled" | "denied" | "tool_error", _) | (_, Some("client")) => Level::WARN,
            _ => Level::ERROR,
        }
    }

    /// The tool or prompt, if it is one that may be named.
    pub fn known_name(&self) -> Option<&str> {
        let name = self.line.name.as_deref()?;
        let is_known = self.line.name_kind.is_some_and(|kind| self.names.find(kind, name).is_some());
        Some(if is_known { name } else { OTHER })
    }

    /// Bytes on the heap that are its own.
    pub fn heap(&self) -> usize {
        [&self.line.name, &self.line.error_id, &self.line.request_id].into_iter().flatten().map(|text| text.len()).sum()
    }

    fn append_member(&self, field: AccessField, out: &mut Vec<u8>) {
        let line = &self.line;
        let name = field.as_str();
        match field {
            AccessField::Time => put(out, name, Some(str::from_utf8(&rfc3339(self.started)).unwrap_or_default())),
            AccessField::Type => put(out, name, Some("access")),
            AccessField::Level => put(out, name, Some(self.level().as_str())),
            AccessField::TraceId => put_shown(out, name, line.trace_id),
            AccessField::SpanId => put_shown(out, name, line.span_id),
            AccessField::RequestId => put(out, name, line.request_id.as_deref().map(cut)),
            AccessField::Server => put(out, name, Some(self.names.server())),
            AccessField::HttpMethod => put(out, name, Some(self.http_method.as_str())),
            AccessField::Status => put(out, name, Some(self.status)),
            AccessField::Outcome => put(out, name, Some(self.outcome)),
            AccessField::Duration => put(out, name, Some(milliseconds(self.duration))),
            AccessField::Upstream => put(out, name, Some(milliseconds(self.upstream))),
            AccessField::Connect => put(out, name, (!line.connect.is_zero()).then(|| milliseconds(line.connect))),
            AccessField::Plugins => put(out, name, Some(milliseconds(self.plugins))),
            AccessField::Slow => put(out, name, self.is_slow.then_some(true)),
            AccessField::RequestBytes => put(out, name, Some(self.request_bytes)),
            AccessField::ResponseBytes => put(out, name, Some(self.response_bytes)),
            AccessField::Operations => put(out, name, Some(line.operations)),
            AccessField::McpMethod => put(out, name, line.mcp_method),
            AccessField::Name => put(out, name, self.known_name()),
            AccessField::NameKind => put(out, name, line.name_kind.map(|kind| kind.as_str())),
            AccessField::RpcErrorCode => put(out, name, line.rpc_error_code),
            AccessField::Session => put_shown(out, name, line.session.map(u64::from_be_bytes).map(|hash| format!("{hash:016x}"))),
            AccessField::ProtocolVersion => put(out, name, line.protocol_version),
            AccessField::Fault => put(out, name, line.fault),
            AccessField::ErrorId => put(out, name, line.error_id.as_deref().map(cut)),
            AccessField::Client => put(out, name, line.client),
            AccessField::ClientName => put(out, name, line.client_name.as_deref().map(cut)),
            AccessField::Endpoint => put(out, name, line.endpoint.as_deref().map(cut)),
            AccessField::Attempts => put(out, name, (line.attempts > 1).then_some(line.attempts)),
        }
    }
}

fn put(out: &mut Vec<u8>, name: &str, value: Option<impl Serialize>) {
    if let Some(value) = value {
        member(out, name, &value);
    }
}

fn put_shown(out: &mut Vec<u8>, name: &str, value: Option<impl std::fmt::Display>) {
    if let Some(value) = value {
        member(out, name, &format_args!("{value}"));
    }
}

/// Milliseconds with three digits after the point.
#[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years")]
pub(super) fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
