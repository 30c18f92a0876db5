//! Gathers lines and writes them in large pieces; says how many were lost when the target does not take them.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use super::{AccessLogTarget, AccessRecord};
use crate::telemetry::TelemetryError;

/// Lines are written when so many bytes are gathered, or no more are queued.
const BATCH: usize = 64 * 1024;
/// A target in non-blocking mode is tried again this often ...
const RETRY: Duration = Duration::from_millis(5);
/// ... so many times for one batch, then its lines are lost: the queue behind it fills in the meantime.
const RETRIES: u32 = 200;

/// Opens the target; `None` for [`AccessLogTarget::Off`].
pub(super) fn open(target: AccessLogTarget) -> Result<Option<File>, TelemetryError> {
    match target {
        AccessLogTarget::Off => Ok(None),
        AccessLogTarget::Stdout => {
            // The descriptor itself: the standard library's buffer would hide which lines were lost.
            let stdout = io::stdout().as_fd().try_clone_to_owned();
            stdout.map(|stdout| Some(File::from(stdout))).map_err(|source| TelemetryError::AccessLog { path: "-".into(), source })
        }
        AccessLogTarget::File(path) => {
            let file = OpenOptions::new().append(true).create(true).open(&path);
            file.map(Some).map_err(|source| TelemetryError::AccessLog { path, source })
        }
    }
}

/// The lines not yet written.
pub(super) struct LineWriter {
    output: Box<dyn Write + Send>,
    batch: Vec<u8>,
    /// The last write stopped within a line: the next must start on a new one.
    torn: bool,
}

impl LineWriter {
    pub fn new(output: Box<dyn Write + Send>) -> Self {
        Self { output, batch: Vec::with_capacity(BATCH + 4096), torn: false }
    }

    /// Adds a line; returns how many lines were lost on the way.
    pub fn add(&mut self, record: &AccessRecord) -> u64 {
        record.append_to(&mut self.batch);
        if self.batch.len() >= BATCH { self.finish() } else { 0 }
    }

    /// Writes what is gathered; returns how many lines were lost.
    pub fn finish(&mut self) -> u64 {
        if self.batch.is_empty() {
            return 0;
        }
        let mend = usize::from(self.torn);
        if self.torn {
            self.batch.insert(0, b'\n');
        }
        let written = self.write_batch();
        let rest = &self.batch[written.max(mend)..];
        let lost = u64::try_from(rest.iter().filter(|byte| **byte == b'\n').count()).unwrap_or(u64::MAX);
        self.torn = match self.batch[..written].last() {
            Some(last) => *last != b'\n',
            None => self.torn,
        };
        self.batch.clear();
        lost
    }

    /// How many bytes the target took.
    fn write_batch(&mut self) -> usize {
        let (mut written, mut retries) = (0, 0);
        while written < self.batch.len() {
            match self.output.write(&self.batch[written..]) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && retries < RETRIES => {
                    retries += 1;
                    thread::sleep(RETRY);
                }
                Err(_) => break,
            }
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::LineWriter;
    use crate::access_log::tests::record;

    /// Takes what the script says of each write: so many bytes, or an error.
    struct Scripted {
        script: Vec<Result<usize, io::ErrorKind>>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let step = if self.script.is_empty() { Ok(usize::MAX) } else { self.script.remove(0) };
            let count = step.map_err(io::Error::from)?.min(bytes.len());
            self.taken.lock().extend_from_slice(&bytes[..count]);
            Ok(count)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Writes batches of two lines; tells how many of each were lost, and how many whole lines arrived.
    fn check(script: &[Result<usize, io::ErrorKind>], lost: [u64; 3], whole_lines: usize) {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let mut writer = LineWriter::new(Box::new(Scripted { script: script.to_vec(), taken: taken.clone() }));
        let counted = lost.map(|_| {
            assert_eq!(writer.add(&record()) + writer.add(&record()), 0);
            writer.finish()
        });
        assert_eq!(counted, lost, "{script:?}");
        let text = String::from_utf8(taken.lock().clone()).unwrap();
        let whole = text.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).count();
        assert_eq!(whole, whole_lines, "{script:?}: {text}");
    }

    #[test]
    fn lines_that_a_target_does_not_take_are_counted_and_spoil_no_others() {
        let full = Err(io::ErrorKind::StorageFull);
        check(&[], [0, 0, 0], 6);
        check(&[Err(io::ErrorKind::Interrupted), Ok(10), Ok(1)], [0, 0, 0], 6);
        check(&[Err(io::ErrorKind::WouldBlock), Ok(10), Err(io::ErrorKind::WouldBlock)], [0, 0, 0], 6);
        check(&[full], [2, 0, 0], 4);
        check(&[Ok(0)], [2, 0, 0], 4);
        check(&[Ok(10), full], [2, 0, 0], 4);
        check(&[Ok(10), full, full], [2, 2, 0], 2);
        check(&[Ok(10), full, Ok(1), full], [2, 2, 0], 2);
        let line = {
            let mut bytes = Vec::new();
            record().append_to(&mut bytes);
            bytes.len()
        };
        check(&[Ok(line), full], [1, 0, 0], 5);
        check(&[Ok(line + 1), full], [1, 0, 0], 5);
    }
}
