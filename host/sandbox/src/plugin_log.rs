//! A plugin's lines in the gateway's log: cut, cleaned and rationed, so that no plugin floods it or writes another's lines.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use watchgate_telemetry::PluginHandles;

/// Bytes kept of one line.
pub(crate) const LINE_BYTES: usize = 1024;
/// Lines kept of one call.
const LINES_PER_CALL: u32 = 100;
/// Lines kept of one generation in one second. The log is written in line with traffic.
const LINES_PER_SECOND: u64 = 1000;
/// The second in the high half of `PluginLog::second`, the lines written in it in the low one.
const SECOND: u64 = 1 << 32;

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// The log of one generation.
pub(crate) struct PluginLog {
    name: Arc<str>,
    handles: Arc<PluginHandles>,
    opened: Instant,
    second: AtomicU64,
}

impl PluginLog {
    pub(crate) fn new(name: &str, handles: Arc<PluginHandles>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), handles, opened: Instant::now(), second: AtomicU64::new(0) })
    }

    /// Whether one more line fits this second.
    fn admits(&self, now: Instant) -> bool {
        let second = now.saturating_duration_since(self.opened).as_secs() * SECOND;
        let admit = |seen: u64| match seen < second {
            true => Some(second + 1),
            false if seen % SECOND < LINES_PER_SECOND => Some(seen + 1),
            false => None,
        };
        self.second.fetch_update(Ordering::Relaxed, Ordering::Relaxed, admit).is_ok()
    }
}

/// The log as one instance sees it.
pub(crate) struct InstanceLog {
    log: Arc<PluginLog>,
    left: AtomicU32,
}

impl InstanceLog {
    pub(crate) fn new(log: Arc<PluginLog>) -> Arc<Self> {
        Arc::new(Self { log, left: AtomicU32::new(LINES_PER_CALL) })
    }

    /// A new call: its lines are counted from 0.
    pub(crate) fn begin(&self) {
        self.left.store(LINES_PER_CALL, Ordering::Relaxed);
    }

    /// Writes one line, or drops and counts it.
    pub(crate) fn write(&self, level: Level, line: &str) {
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_err() || !self.log.admits(Instant::now()) {
            self.log.handles.log_dropped();
            return;
        }
        let (plugin, line) = (&*self.log.name, clean(line));
        match level {
            Level::Trace => tracing::trace!(target: "watchgate::plugin", plugin, "{line}"),
            Level::Debug => tracing::debug!(target: "watchgate::plugin", plugin, "{line}"),
            Level::Info => tracing::info!(target: "watchgate::plugin", plugin, "{line}"),
            Level::Warn => tracing::warn!(target: "watchgate::plugin", plugin, "{line}"),
            Level::Error => tracing::error!(target: "watchgate::plugin", plugin, "{line}"),
        }
    }
}

/// The first [`LINE_BYTES`] of a line, with control characters made visible: a line feed would forge a line, an escape a terminal.
fn clean(line: &str) -> String {
    let line = &line[..line.floor_char_boundary(LINE_BYTES)];
    let mut cleaned = String::with_capacity(line.len());
    for character in line.chars() {
        if character.is_control() && character != '\t' {
            cleaned.extend(character.escape_default());
        } else {
            cleaned.push(character);
        }
    }
    cleaned
}

/// Bytes that a guest writes to standard output or standard error, gathered to lines.
pub(crate) struct LineBuffer {
    log: Arc<InstanceLog>,
    level: Level,
    line: Mutex<Vec<u8>>,
}

impl LineBuffer {
    pub(crate) fn new(log: Arc<InstanceLog>, level: Level) -> Arc<Self> {
        Arc::new(Self { log, level, line: Mutex::new(Vec::new()) })
    }

    /// Takes bytes and writes the lines that they complete.
    pub(crate) fn push(&self, bytes: &[u8]) {
        let mut line = self.line.lock();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (content, complete) = match piece.strip_suffix(b"\n") {
                Some(content) => (content, true),
                None => (piece, false),
            };
            let room = LINE_BYTES.saturating_sub(line.len());
            line.extend_from_slice(&content[..content.len().min(room)]);
            if complete {
                self.log.write(self.level, &String::from_utf8_lossy(&line));
                line.clear();
            }
        }
    }
}

impl Drop for LineBuffer {
    /// Writes what stands after the last line feed, which for a guest that died is often the reason.
    fn drop(&mut self) {
        let line = self.line.get_mut();
        if !line.is_empty() {
            self.log.write(self.level, &String::from_utf8_lossy(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE_BYTES, clean};

    fn check(line: &str, expected: &str) {
        assert_eq!(clean(line), expected);
    }

    #[test]
    fn lines_are_cut_and_cannot_forge_others() {
        check("plain\ttext ü", "plain\ttext ü");
        check("one\nERROR forged", "one\\nERROR forged");
        check("\u{1b}[2Jgone", "\\u{1b}[2Jgone");
        check(&"ü".repeat(LINE_BYTES), &"ü".repeat(LINE_BYTES / 2));
    }
}
