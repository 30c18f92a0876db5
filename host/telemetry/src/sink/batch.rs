//! Gathers lines and writes them in large pieces; says how many were lost when the target does not take them.

use std::io::{self, ErrorKind};
use std::thread;
use std::time::Duration;

use super::Signal;
use super::target::Target;

/// Lines are written when so many bytes are gathered, or no more are queued.
const BATCH: usize = 64 * 1024;
/// A target in non-blocking mode is tried again this often ...
const RETRY: Duration = Duration::from_millis(5);
/// ... so many times for one batch, then its lines are lost: the queue behind it fills in the meantime.
const RETRIES: u32 = 200;

/// What came of writing a batch.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Lines that were lost, by [`Signal`].
    pub lost: [u64; Signal::ALL.len()],
    /// Why lines were lost.
    pub failed: Option<io::Error>,
    /// Why the file was not put aside or not found again; the lines may have been written all the same.
    pub unprepared: Option<io::Error>,
}

/// The lines not yet written.
pub(super) struct LineWriter {
    target: Box<dyn Target>,
    batch: Vec<u8>,
    /// Which signal each line of the batch belongs to.
    lines: Vec<Signal>,
    most: usize,
    /// The last write stopped within a line: the next must start on a new one.
    torn: bool,
}

impl LineWriter {
    pub fn new(target: Box<dyn Target>) -> Self {
        let most = target.most().min(BATCH);
        Self { target, batch: Vec::with_capacity(most + 4096), lines: Vec::new(), most, torn: false }
    }

    /// Adds what `append` writes: one line with its line feed, or nothing. Tells whether it is time to [`Self::finish`].
    pub fn add(&mut self, signal: Signal, append: impl FnOnce(&mut Vec<u8>)) -> bool {
        let before = self.batch.len();
        append(&mut self.batch);
        if self.batch.len() > before {
            self.lines.push(signal);
        }
        self.batch.len() >= self.most
    }

    /// Writes what is gathered; `None` when there is nothing.
    pub fn finish(&mut self) -> Option<Written> {
        if self.batch.is_empty() {
            return None;
        }
        let mut outcome = Written { unprepared: self.target.prepare(self.batch.len()).err(), ..Written::default() };
        let mend = usize::from(self.torn);
        if self.torn {
            self.batch.insert(0, b'\n');
        }
        let (written, failed) = self.write_batch();
        let rest = &self.batch[written.max(mend)..];
        let lost = rest.iter().filter(|byte| **byte == b'\n').count();
        for signal in self.lines.iter().rev().take(lost) {
            outcome.lost[*signal as usize] += 1;
        }
        self.torn = match self.batch[..written].last() {
            Some(last) => *last != b'\n',
            None => self.torn,
        };
        outcome.failed = failed;
        self.batch.clear();
        self.lines.clear();
        Some(outcome)
    }

    /// How many bytes the target took, and why not all.
    fn write_batch(&mut self) -> (usize, Option<io::Error>) {
        let (mut written, mut retries) = (0, 0);
        while written < self.batch.len() {
            match self.target.write(&self.batch[written..]) {
                Ok(0) => return (written, Some(ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && retries < RETRIES => {
                    retries += 1;
                    thread::sleep(RETRY);
                }
                Err(error) => return (written, Some(error)),
            }
        }
        (written, None)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::{LineWriter, Signal, Target};

    const LINE: &[u8] = b"{\"a\":\"line of some length\"}\n";

    /// Takes what the script says of each write: so many bytes, or an error.
    struct Scripted {
        script: Vec<Result<usize, io::ErrorKind>>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Target for Scripted {
        fn prepare(&mut self, _bytes: usize) -> io::Result<()> {
            Ok(())
        }
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let step = if self.script.is_empty() { Ok(usize::MAX) } else { self.script.remove(0) };
            let count = step.map_err(io::Error::from)?.min(bytes.len());
            self.taken.lock().extend_from_slice(&bytes[..count]);
            Ok(count)
        }
    }

    /// Writes batches of two lines, one of each signal; tells how many of each batch were lost, and how many whole lines arrived.
    fn check(script: &[Result<usize, io::ErrorKind>], lost: [[u64; 2]; 3], whole_lines: usize) {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let mut writer = LineWriter::new(Box::new(Scripted { script: script.to_vec(), taken: taken.clone() }));
        let counted = lost.map(|expected| {
            for signal in [Signal::Logs, Signal::AccessLog] {
                assert!(!writer.add(signal, |batch| batch.extend_from_slice(LINE)));
            }
            assert!(!writer.add(Signal::Logs, |_nothing| {}));
            let written = writer.finish().unwrap();
            assert_eq!(written.failed.is_some(), expected != [0, 0], "{script:?}");
            written.lost
        });
        assert!(writer.finish().is_none());
        assert_eq!(counted, lost, "{script:?}");
        let text = String::from_utf8(taken.lock().clone()).unwrap();
        let whole = text.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).count();
        assert_eq!(whole, whole_lines, "{script:?}: {text}");
    }

    #[test]
    fn lines_that_a_target_does_not_take_are_counted_and_spoil_no_others() {
        let full = Err(io::ErrorKind::StorageFull);
        let none = [0, 0];
        check(&[], [none, none, none], 6);
        check(&[Err(io::ErrorKind::Interrupted), Ok(10), Ok(1)], [none, none, none], 6);
        check(&[Err(io::ErrorKind::WouldBlock), Ok(10), Err(io::ErrorKind::WouldBlock)], [none, none, none], 6);
        check(&[full], [[1, 1], none, none], 4);
        check(&[Ok(0)], [[1, 1], none, none], 4);
        check(&[Ok(10), full], [[1, 1], none, none], 4);
        check(&[Ok(10), full, full], [[1, 1], [1, 1], none], 2);
        check(&[Ok(10), full, Ok(1), full], [[1, 1], [1, 1], none], 2);
        check(&[Ok(LINE.len()), full], [[0, 1], none, none], 5);
        check(&[Ok(LINE.len() + 1), full], [[0, 1], none, none], 5);
    }
}
