//! One finished exchange as a trace: plain values, complete and cleared, that nobody changes any more.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::attribute::{Attribute, AttributeValue};
use super::conventions::EventName;
use super::ids::{SpanId, TraceId};

/// Which side of a call a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpanKind {
    /// It answers a call.
    Server,
    /// It makes one.
    Client,
    /// It is within the gateway.
    Internal,
}

impl SpanKind {
    /// The word of the conventions: `SERVER`, `CLIENT`, `INTERNAL`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "SERVER",
            Self::Client => "CLIENT",
            Self::Internal => "INTERNAL",
        }
    }
}

/// How a span ended.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum SpanStatus {
    /// Without an error.
    #[default]
    Unset,
    /// With one; the text says what went wrong, redacted, and may be empty.
    Error(Cow<'static, str>),
}

/// Something that happened at one moment of a span.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanEvent {
    /// What happened.
    pub name: EventName,
    /// When.
    pub at: SystemTime,
    /// What there is to say of it.
    pub attributes: Vec<(Attribute, AttributeValue)>,
}

/// One span.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanRecord {
    /// Its own id.
    pub span_id: SpanId,
    /// The span it is part of; `None` at the root of a trace.
    pub parent: Option<SpanId>,
    /// Whether the parent is a span of somebody else.
    pub parent_is_remote: bool,
    /// Which side of a call it is.
    pub kind: SpanKind,
    /// Its name, as [`super::SpanShape`] says.
    pub name: Cow<'static, str>,
    /// When it began, by the system's clock.
    pub started: SystemTime,
    /// How long it took, by a clock that never steps back.
    pub duration: Duration,
    /// How it ended.
    pub status: SpanStatus,
    /// Each attribute at most once.
    pub attributes: Vec<(Attribute, AttributeValue)>,
    /// Spans of other traces, or other branches of this one, that it belongs to.
    pub links: Vec<(TraceId, SpanId)>,
    /// What happened in its course.
    pub events: Vec<SpanEvent>,
}

impl SpanRecord {
    /// A span without attributes that ended well.
    pub fn new(span_id: SpanId, kind: SpanKind, name: impl Into<Cow<'static, str>>, started: SystemTime, duration: Duration) -> Self {
        Self {
            span_id,
            parent: None,
            parent_is_remote: false,
            kind,
            name: name.into(),
            started,
            duration,
            status: SpanStatus::Unset,
            // About what spans of each kind come to say.
            attributes: Vec::with_capacity(match kind {
                SpanKind::Server => 24,
                SpanKind::Client => 20,
                SpanKind::Internal => 6,
            }),
            links: Vec::new(),
            events: Vec::new(),
        }
    }

    /// The same span, part of a span of ours.
    #[must_use]
    pub fn within(mut self, parent: SpanId) -> Self {
        self.parent = Some(parent);
        self
    }

    /// The same span, part of a caller's span.
    #[must_use]
    pub fn within_remote(mut self, parent: SpanId) -> Self {
        (self.parent, self.parent_is_remote) = (Some(parent), true);
        self
    }

    /// Says something of the span; the value is of the attribute's kind.
    pub fn set(&mut self, attribute: Attribute, value: impl Into<AttributeValue>) {
        let value = value.into();
        debug_assert_eq!(value.kind(), attribute.kind(), "{}", attribute.as_str());
        match self.attributes.iter_mut().find(|(known, _)| *known == attribute) {
            Some((_, old)) => *old = value,
            None => self.attributes.push((attribute, value)),
        }
    }

    /// The value of an attribute.
    pub fn get(&self, attribute: Attribute) -> Option<&AttributeValue> {
        self.attributes.iter().find(|(known, _)| *known == attribute).map(|(_, value)| value)
    }

    /// When it ended.
    pub fn ended(&self) -> SystemTime {
        self.started.checked_add(self.duration).unwrap_or(self.started)
    }

    fn heap(&self) -> usize {
        let status = match &self.status {
            SpanStatus::Error(Cow::Owned(text)) => text.capacity(),
            SpanStatus::Unset | SpanStatus::Error(Cow::Borrowed(_)) => 0,
        };
        let name = if let Cow::Owned(name) = &self.name { name.capacity() } else { 0 };
        let events: usize = self.events.iter().map(|event| heap_of(&event.attributes)).sum();
        status
            + name
            + events
            + heap_of(&self.attributes)
            + self.links.capacity() * size_of::<(TraceId, SpanId)>()
            + self.events.capacity() * size_of::<SpanEvent>()
    }
}

/// An exchange and its spans.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceRecord {
    /// The trace it is part of; several exchanges may be.
    pub trace_id: TraceId,
    /// The first is the SERVER span of the exchange, the others are below it.
    pub spans: Vec<SpanRecord>,
    /// The configured name of the server.
    pub server: Arc<str>,
    /// One of the design's outcomes.
    pub outcome: &'static str,
    /// The tool or prompt, redacted; `_other` where nothing is left of it, `None` where nothing is named.
    pub name: Option<Box<str>>,
    /// The method of the first message; `None` when there is none or the specification does not define it.
    pub mcp_method: Option<&'static str>,
    /// When the request's head had arrived.
    pub started: SystemTime,
    /// From then to the last byte of the answer.
    pub duration: Duration,
    /// `X-Request-ID`, redacted.
    pub request_id: Option<Box<str>>,
    /// The id that the client got in the gateway's own error.
    pub error_id: Option<Box<str>>,
    /// The caller's `tracestate`, verbatim.
    pub tracestate: Option<Box<str>>,
    /// It took longer than the configured threshold.
    pub is_slow: bool,
    /// It failed.
    pub is_error: bool,
    /// `X-Debug-Trace` asked for it.
    pub is_forced: bool,
    /// It was chosen when it began.
    pub head_sampled: bool,
}

impl TraceRecord {
    /// The bytes it holds on to.
    pub fn bytes(&self) -> usize {
        let texts = [&self.name, &self.request_id, &self.error_id, &self.tracestate];
        size_of::<Self>()
            + self.spans.capacity() * size_of::<SpanRecord>()
            + self.spans.iter().map(SpanRecord::heap).sum::<usize>()
            + texts.into_iter().flatten().map(|text| text.len()).sum::<usize>()
    }
}

/// An exchange that is traced ended, and its texts are cleared. Goes to the recent traces, and to the exporter where it is
/// for export.
pub struct TraceFinished(pub TraceRecord);

fn heap_of(attributes: &Vec<(Attribute, AttributeValue)>) -> usize {
    attributes.capacity() * size_of::<(Attribute, AttributeValue)>() + attributes.iter().map(|(_, value)| value.heap()).sum::<usize>()
}
