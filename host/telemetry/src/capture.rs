//! Which tool calls have their arguments and results recorded, and the line that says them.

use crate::access_log::milliseconds;
use crate::log::{LogContext, MaskedFields, within_context};
use crate::trace::{Attribute, AttributeValue, TraceRecord};

/// Which calls are recorded with what was said in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Capture {
    /// None.
    #[default]
    None,
    /// Those that did not end well.
    OnError,
    /// All.
    All,
}

/// What is recorded of the messages of tool calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureConfig {
    /// Of which calls.
    pub calls: Capture,
    /// Arguments and result are each cut after so many bytes.
    pub bytes: usize,
    /// Members of JSON objects whose values are masked.
    pub masked: MaskedFields,
}

impl Default for CaptureConfig {
    fn default() -> Self {
        Self { calls: Capture::None, bytes: 4096, masked: MaskedFields::default() }
    }
}

impl CaptureConfig {
    /// Whether texts need to be kept during an exchange.
    pub fn is_on(&self) -> bool {
        self.calls != Capture::None
    }

    /// Whether a call that ended so is recorded.
    pub fn wants(&self, ended_well: bool) -> bool {
        match self.calls {
            Capture::None => false,
            Capture::OnError => !ended_well,
            Capture::All => true,
        }
    }
}

/// Says what was captured of a call, if anything was. The texts are cleared and cut.
pub(crate) fn say(record: &TraceRecord) {
    let Some(root) = record.spans.first() else { return };
    let text = |attribute| match root.get(attribute) {
        Some(AttributeValue::Str(text)) => Some(text.as_ref()),
        _ => None,
    };
    let (arguments, result) = (text(Attribute::GenAiToolCallArguments), text(Attribute::GenAiToolCallResult));
    if arguments.is_none() && result.is_none() {
        return;
    }
    let context = LogContext {
        trace_id: Some(record.trace_id),
        span_id: Some(root.span_id),
        request_id: record.request_id.as_deref().map(Into::into),
    };
    within_context(context, || {
        tracing::info!(
            target: "capture",
            server = &*record.server,
            tool = text(Attribute::GenAiToolName),
            outcome = record.outcome,
            duration_ms = milliseconds(record.duration),
            arguments,
            result,
            "tool call"
        );
    });
}
