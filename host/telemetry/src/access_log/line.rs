//! What one access line says, and in which words.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

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
            self.tell(*field, &mut Json(out));
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

    /// Tells `members` one of them, if it has something to say.
    pub fn tell(&self, field: AccessField, members: &mut impl Members) {
        let line = &self.line;
        let name = field.as_str();
        match field {
            AccessField::Time => members.text(name, str::from_utf8(&rfc3339(self.started)).unwrap_or_default()),
            AccessField::Type => members.text(name, "access"),
            AccessField::Level => members.text(name, self.level().as_str()),
            AccessField::TraceId => tell(line.trace_id, |id| members.shown(name, id)),
            AccessField::SpanId => tell(line.span_id, |id| members.shown(name, id)),
            AccessField::Sampled => tell(line.sampled, |sampled| members.flag(name, sampled)),
            AccessField::RequestId => tell(line.request_id.as_deref(), |id| members.text(name, cut(id))),
            AccessField::Server => members.text(name, self.names.server()),
            AccessField::HttpMethod => members.text(name, self.http_method.as_str()),
            AccessField::Status => members.unsigned(name, self.status.into()),
            AccessField::Outcome => members.text(name, self.outcome),
            AccessField::Duration => members.number(name, milliseconds(self.duration)),
            AccessField::Read => tell(worth_telling(line.read), |read| members.number(name, read)),
            AccessField::Upstream => members.number(name, milliseconds(self.upstream)),
            AccessField::Connect if line.connect.is_zero() => {}
            AccessField::Connect => members.number(name, milliseconds(line.connect)),
            AccessField::Plugins => members.number(name, milliseconds(self.plugins)),
            AccessField::Write => tell(worth_telling(line.write), |write| members.number(name, write)),
            AccessField::Slow if !self.is_slow => {}
            AccessField::Slow => members.flag(name, true),
            AccessField::RequestBytes => members.unsigned(name, self.request_bytes),
            AccessField::ResponseBytes => members.unsigned(name, self.response_bytes),
            AccessField::Operations => members.unsigned(name, line.operations.into()),
            AccessField::McpMethod => tell(line.mcp_method, |method| members.text(name, method)),
            AccessField::Name => tell(self.known_name(), |known| members.text(name, known)),
            AccessField::NameKind => tell(line.name_kind, |kind| members.text(name, kind.as_str())),
            AccessField::RpcErrorCode => tell(line.rpc_error_code, |code| members.signed(name, code)),
            AccessField::Session => {
                tell(line.session, |hash| members.shown(name, format_args!("{:016x}", u64::from_be_bytes(hash))));
            }
            AccessField::ProtocolVersion => tell(line.protocol_version, |version| members.text(name, version)),
            AccessField::Fault => tell(line.fault, |fault| members.text(name, fault)),
            AccessField::ErrorId => tell(line.error_id.as_deref(), |id| members.text(name, cut(id))),
            AccessField::AuthResult => tell(line.auth_result, |result| members.text(name, result)),
            AccessField::Client => tell(line.client, |client| members.shown(name, client)),
            AccessField::ClientName => tell(line.client_name.as_deref(), |client| members.text(name, cut(client))),
            AccessField::Endpoint => tell(line.endpoint.as_deref(), |endpoint| members.text(name, cut(endpoint))),
            AccessField::Attempts if line.attempts < 2 => {}
            AccessField::Attempts => members.unsigned(name, line.attempts.into()),
            AccessField::Cause => tell(line.cause, |cause| members.text(name, cause.as_str())),
        }
    }
}

/// Takes the members of a line, in whatever form it goes out.
pub(crate) trait Members {
    fn text(&mut self, name: &'static str, value: &str);
    /// Text that is made while it is written.
    fn shown(&mut self, name: &'static str, value: impl fmt::Display);
    fn signed(&mut self, name: &'static str, value: i64);
    fn unsigned(&mut self, name: &'static str, value: u64);
    fn number(&mut self, name: &'static str, value: f64);
    fn flag(&mut self, name: &'static str, value: bool);
}

/// An object that was begun.
struct Json<'a>(&'a mut Vec<u8>);

impl Members for Json<'_> {
    fn text(&mut self, name: &'static str, value: &str) {
        member(self.0, name, &value);
    }

    fn shown(&mut self, name: &'static str, value: impl fmt::Display) {
        member(self.0, name, &format_args!("{value}"));
    }

    fn signed(&mut self, name: &'static str, value: i64) {
        member(self.0, name, &value);
    }

    fn unsigned(&mut self, name: &'static str, value: u64) {
        member(self.0, name, &value);
    }

    fn number(&mut self, name: &'static str, value: f64) {
        member(self.0, name, &value);
    }

    fn flag(&mut self, name: &'static str, value: bool) {
        member(self.0, name, &value);
    }
}

fn tell<T>(value: Option<T>, tell: impl FnOnce(T)) {
    if let Some(value) = value {
        tell(value);
    }
}

/// Milliseconds of a part that is mostly next to nothing.
fn worth_telling(part: Duration) -> Option<f64> {
    (part >= Duration::from_millis(1)).then(|| milliseconds(part))
}

/// Milliseconds with three digits after the point.
#[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years")]
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
