//! Takes `tracing` events in: copies what they say into a record and hands it to the writer.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::MaskedFields;
use super::context;
use super::record::{FieldValue, LogRecord, cut_text};
use crate::sink::{Record, Sink};

thread_local! {
    static KEPT: Cell<bool> = const { Cell::new(false) };
}

/// From now on what this thread says is not pushed to a collector: it is the thread that does that.
pub(crate) fn keep_own_events() {
    KEPT.set(true);
}

/// The layer.
pub(super) struct Lines {
    sink: Arc<Sink>,
    masked: MaskedFields,
}

impl Lines {
    pub fn new(sink: Arc<Sink>, masked: MaskedFields) -> Self {
        Self { sink, masked }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut said = Said { masked: &self.masked, message: String::new(), fields: Vec::new() };
        event.record(&mut said);
        self.sink.offer(Record::Own(Arc::new(LogRecord {
            time: SystemTime::now(),
            level: *metadata.level(),
            target: metadata.target(),
            message: said.message,
            fields: said.fields,
            context: context::current(),
            is_kept: KEPT.get(),
        })));
    }
}

/// What an event says.
struct Said<'a> {
    masked: &'a MaskedFields,
    message: String,
    fields: Vec<(&'static str, FieldValue)>,
}

impl Said<'_> {
    fn put(&mut self, field: &Field, value: impl FnOnce() -> FieldValue) {
        let name = field.name();
        let value = if self.masked.masks(name) { FieldValue::Text(MaskedFields::MASK.to_owned()) } else { value() };
        self.fields.push((name, value));
    }

    fn put_text(&mut self, field: &Field, text: impl FnOnce() -> String) {
        if field.name() == "message" {
            self.message = cut_text(text());
        } else {
            self.put(field, || FieldValue::Text(cut_text(text())));
        }
    }
}

impl Visit for Said<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put_text(field, || format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_text(field, || value.to_owned());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put_text(field, || value.to_string());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, || FieldValue::Signed(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, || FieldValue::Unsigned(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, || FieldValue::Number(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, || FieldValue::Flag(value));
    }
}
