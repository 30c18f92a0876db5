//! One event of the own log, and the two ways in which it is written.

use std::borrow::Cow;
use std::io::Write as _;
use std::time::SystemTime;

use serde::Serialize;
use tracing::Level;

use super::{LogContext, LogFormat};
use crate::json::member;
use crate::wall_time::rfc3339;

/// Longer messages and values are cut, bytes.
const LONGEST_TEXT: usize = 16 * 1024;

/// An event, owned.
#[derive(Clone, Debug)]
pub(crate) struct LogRecord {
    pub time: SystemTime,
    pub level: Level,
    /// The module that said it.
    pub target: &'static str,
    pub message: String,
    pub fields: Vec<(&'static str, FieldValue)>,
    pub context: Option<LogContext>,
    /// It goes to no collector.
    pub is_kept: bool,
}

/// The value of a field.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum FieldValue {
    Text(String),
    Signed(i64),
    Unsigned(u64),
    Number(f64),
    Flag(bool),
}

/// Members of a line that are not the event's own.
pub(crate) const MEMBERS: [(&str, &str); 8] = [
    ("time", "When it was said: UTC with milliseconds, by RFC 3339."),
    ("type", "`log`. The access log says `access`."),
    ("level", "`ERROR` (someone must act), `WARN` (the gateway coped), `INFO` (something changed), `DEBUG` or `TRACE`."),
    ("target", "The module that said it, for example `watchgate_proxy::tls`."),
    ("message", "One sentence."),
    ("trace_id", "The trace of the exchange in whose service it was said, where there is one."),
    ("span_id", "The span of that exchange."),
    (
        "request_id",
        "The `X-Request-ID` of that exchange; not one of a client's while a redaction plugin reads telemetry, which lines do not wait for: the access line of the same `trace_id` has it.",
    ),
];

impl LogRecord {
    /// Appends the record as one line with its line feed.
    pub fn append_to(&self, out: &mut Vec<u8>, format: LogFormat, colours: bool) {
        match format {
            LogFormat::Json => self.append_json(out),
            LogFormat::Pretty => self.append_pretty(out, colours),
        }
        out.push(b'\n');
    }

    /// What the event says about a server.
    pub fn server(&self) -> Option<&str> {
        self.fields.iter().find_map(|(name, value)| match value {
            FieldValue::Text(text) if *name == "server" => Some(text.as_str()),
            _ => None,
        })
    }

    /// The field of this name, or the id of the exchange, as a text.
    pub fn id(&self, name: &str) -> Option<Cow<'_, str>> {
        let field = self.fields.iter().find_map(|(known, value)| match value {
            FieldValue::Text(text) if *known == name => Some(text.as_str().into()),
            _ => None,
        });
        field.or_else(|| self.context_members().find(|(known, _)| *known == name).map(|(_, text)| text.into()))
    }

    /// Bytes on the heap.
    pub fn heap(&self) -> usize {
        let texts = self.fields.iter().map(|(_, value)| if let FieldValue::Text(text) = value { text.len() } else { 0 });
        size_of::<Self>() + self.message.len() + self.fields.len() * size_of::<(&str, FieldValue)>() + texts.sum::<usize>()
    }

    /// The ids of the exchange, as texts, but for those that are fields of the event already.
    pub fn context_members(&self) -> impl Iterator<Item = (&'static str, String)> {
        let members = self.context.iter().flat_map(|context| {
            [
                ("trace_id", context.trace_id.map(|id| id.to_string())),
                ("span_id", context.span_id.map(|id| id.to_string())),
                ("request_id", context.request_id.as_deref().map(str::to_owned)),
            ]
        });
        members.filter_map(|(name, text)| Some((name, text?))).filter(|(name, _)| self.fields.iter().all(|(known, _)| known != name))
    }

    fn append_json(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        member(out, "time", &str::from_utf8(&rfc3339(self.time)).unwrap_or_default());
        member(out, "type", &"log");
        member(out, "level", &self.level.as_str());
        member(out, "target", &self.target);
        member(out, "message", &self.message);
        for (name, value) in &self.fields {
            if MEMBERS[..5].iter().any(|(taken, _)| taken == name) {
                member(out, &format!("field_{name}"), value);
            } else {
                member(out, name, value);
            }
        }
        for (name, text) in self.context_members() {
            member(out, name, &text);
        }
        out.push(b'}');
    }

    fn append_pretty(&self, out: &mut Vec<u8>, colours: bool) {
        let colour = match self.level {
            Level::ERROR => "31",
            Level::WARN => "33",
            Level::INFO => "32",
            Level::DEBUG => "34",
            Level::TRACE => "35",
        };
        let (dim, bright, plain) = if colours { ("\u{1b}[2m", format!("\u{1b}[{colour}m"), "\u{1b}[0m") } else { ("", String::new(), "") };
        let time = rfc3339(self.time);
        let time = str::from_utf8(&time).unwrap_or_default();
        // Memory takes any write.
        let _ = write!(out, "{dim}{time}{plain} {bright}{:>5}{plain} {dim}{}:{plain} ", self.level.as_str(), self.target);
        append_visible(out, &self.message);
        for (name, value) in &self.fields {
            let _ = write!(out, " {dim}{name}={plain}");
            append_value(out, value);
        }
        for (name, text) in self.context_members() {
            let _ = write!(out, " {dim}{name}={plain}");
            append_text(out, &text);
        }
    }
}

fn append_value(out: &mut Vec<u8>, value: &FieldValue) {
    let _ = match value {
        FieldValue::Text(text) => {
            append_text(out, text);
            Ok(())
        }
        FieldValue::Signed(number) => write!(out, "{number}"),
        FieldValue::Unsigned(number) => write!(out, "{number}"),
        FieldValue::Number(number) => write!(out, "{number}"),
        FieldValue::Flag(flag) => write!(out, "{flag}"),
    };
}

/// A value that could be taken for more than one stands in quotes.
fn append_text(out: &mut Vec<u8>, text: &str) {
    if !text.is_empty() && !text.contains(|character: char| character.is_whitespace() || is_dangerous(character) || character == '"') {
        out.extend_from_slice(text.as_bytes());
    } else {
        out.push(b'"');
        append_visible(out, &text.replace('\\', "\\\\").replace('"', "\\\""));
        out.push(b'"');
    }
}

/// Keeps a record on its line and the terminal as it was: a message may quote a plugin, and what follows a line feed would
/// pass for a record of ours.
fn append_visible(out: &mut Vec<u8>, text: &str) {
    if !text.contains(|character: char| is_dangerous(character)) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    for character in text.chars() {
        if is_dangerous(character) {
            let _ = write!(out, "{}", character.escape_default());
        } else {
            let _ = write!(out, "{character}");
        }
    }
}

/// Control characters, line ends of Unicode, and those that turn the direction of writing.
fn is_dangerous(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text`, cut to [`LONGEST_TEXT`] without splitting a character.
pub(super) fn cut_text(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(LONGEST_TEXT));
    text
}
