//! What the process logs, remembered; told apart by the endpoint, which is another for each test.

use std::fmt::Debug;
use std::sync::{Mutex, Once};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

static LINES: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());

struct Remember;

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!(" {}={value:?}", field.name());
    }
}

impl<S: Subscriber> Layer<S> for Remember {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        LINES.lock().unwrap().push((*event.metadata().level(), text.0));
    }
}

/// Call before what is to be remembered.
pub fn remember() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing_subscriber::registry().with(Remember).init());
}

/// The lines of at least `info` that name the endpoint.
pub fn lines(endpoint: &str) -> Vec<(Level, String)> {
    LINES.lock().unwrap().iter().filter(|(level, text)| *level <= Level::INFO && text.contains(endpoint)).cloned().collect()
}
