//! What one access line says, and in which words.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::bounded_names::cut;
use crate::facts::{AccessLine, HttpMethod};
use crate::intern::OTHER;
use crate::server::KnownNames;

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
    pub line: AccessLine,
}

/// The line as JSON; absent members are left out.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    #[serde(rename = "type")]
    kind: &'static str,
    server: &'a str,
    http_method: &'static str,
    status: u16,
    outcome: &'static str,
    duration_ms: f64,
    upstream_ms: f64,
    plugins_ms: f64,
    request_bytes: u64,
    response_bytes: u64,
    operations: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    mcp_method: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rpc_error_code: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol_version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
}

impl AccessRecord {
    /// Appends the line and its line feed.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let line = &self.line;
        let known = |name: &'_ str| line.name_kind.is_some_and(|kind| self.names.find(kind, name).is_some());
        let row = Line {
            time: rfc3339(self.started),
            kind: "access",
            server: self.names.server(),
            http_method: self.http_method.as_str(),
            status: self.status,
            outcome: self.outcome,
            duration_ms: milliseconds(self.duration),
            upstream_ms: milliseconds(self.upstream),
            plugins_ms: milliseconds(self.plugins),
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            operations: line.operations,
            mcp_method: line.mcp_method,
            name: line.name.as_deref().map(|name| if known(name) { name } else { OTHER }),
            name_kind: line.name_kind.map(|kind| kind.as_str()),
            rpc_error_code: line.rpc_error_code,
            session: line.session.map(|hash| format!("{:016x}", u64::from_be_bytes(hash))),
            protocol_version: line.protocol_version,
            fault: line.fault,
            error_id: line.error_id.as_deref().map(cut),
            request_id: line.request_id.as_deref().map(cut),
            client: line.client,
            client_name: line.client_name.as_deref().map(cut),
            endpoint: line.endpoint.as_deref().map(cut),
            attempts: (line.attempts > 1).then_some(line.attempts),
        };
        let start = out.len();
        match serde_json::to_writer(&mut *out, &row) {
            Ok(()) => out.push(b'\n'),
            // Memory takes any write and every member has a JSON form; half a line would break the next one too.
            Err(_) => out.truncate(start),
        }
    }
}

/// Milliseconds with three digits after the point.
#[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years")]
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// UTC with milliseconds, for example `2026-11-20T12:00:00.000Z`.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
}

/// The Gregorian date `days` after 1970-01-01. Years are counted from March, so that the leap day ends one.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::rfc3339;

    #[test]
    fn times_are_utc_with_milliseconds() {
        let check = |milliseconds: u64, expected: &str| {
            assert_eq!(rfc3339(SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds)), expected);
        };
        check(0, "1970-01-01T00:00:00.000Z");
        check(951_782_400_000, "2000-02-29T00:00:00.000Z");
        check(951_868_799_999, "2000-02-29T23:59:59.999Z");
        check(1_709_251_199_001, "2024-02-29T23:59:59.001Z");
        check(1_735_689_599_000, "2024-12-31T23:59:59.000Z");
        check(4_107_542_400_000, "2100-03-01T00:00:00.000Z");
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH - Duration::from_secs(5)), "1970-01-01T00:00:00.000Z");
    }
}
