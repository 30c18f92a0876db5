//! The thread that writes: when it wakes, what it writes where, and what it does when the place goes away.

use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::batch::{LineWriter, Written};
use super::target::Target;
use super::{Output, Record, Rotation, Signal, Sink, SinkConfig, Trouble};
use crate::access_log::AccessRecord;
use crate::facts::{AccessLine, HttpMethod};
use crate::log::LogFormat;
use crate::recent_logs::{RecentLogs, RecentLogsConfig};
use crate::server::KnownNames;

const DEADLINE: Duration = Duration::from_secs(10);

/// An access line that holds a number.
fn line(number: u64) -> Record {
    Record::Access(AccessRecord {
        names: Arc::new(KnownNames::new("s")),
        started: SystemTime::UNIX_EPOCH,
        http_method: HttpMethod::Post,
        status: 200,
        outcome: "ok",
        duration: Duration::ZERO,
        upstream: Duration::ZERO,
        plugins: Duration::ZERO,
        request_bytes: number,
        response_bytes: 0,
        is_slow: false,
        line: AccessLine::default(),
    })
}

fn config(output: Output) -> SinkConfig {
    let recent = Arc::new(RecentLogs::new(RecentLogsConfig::default()));
    SinkConfig { output, format: LogFormat::Json, colours: false, recent, levels: None }
}

fn to_file(path: &Path, rotation: Option<Rotation>) -> Sink {
    Sink::start(config(Output::File { path: path.to_path_buf(), rotation })).unwrap()
}

/// The numbers in a file, in order; it holds whole lines only.
fn numbers(path: &Path) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let number = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["request_bytes"].as_u64().unwrap();
    text.split_terminator('\n').map(number).collect()
}

fn lost(sink: &Sink) -> (u64, u64) {
    let losses = sink.losses(Signal::AccessLog);
    (losses.queue_full.get(), losses.write_failed.get())
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        thread::yield_now();
    }
}

struct Pipe(std::io::PipeWriter);

impl Target for Pipe {
    fn prepare(&mut self, _bytes: usize) -> std::io::Result<()> {
        Ok(())
    }
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }
}

#[test]
fn a_line_wakes_the_parked_writer() {
    let (reading, writing) = std::io::pipe().unwrap();
    let sink = Sink::start_with(LineWriter::new(Box::new(Pipe(writing))), 4, config(Output::Stdout)).unwrap();
    let mut lines = BufReader::new(reading).lines();
    for number in 0..3 {
        until("the writer parks when no lines come", || sink.shared.parked.load(Ordering::Acquire));
        sink.offer(line(number));
        assert!(lines.next().unwrap().unwrap().starts_with('{'));
    }
    assert_eq!(lost(&sink), (0, 0));
}

#[test]
fn a_full_file_is_put_aside_and_so_many_are_kept() {
    let check = |max_files: u32| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let max_size = 20_000;
        let sink = to_file(&path, Some(Rotation { max_size, max_files }));
        for number in 0..1000 {
            sink.offer(line(number));
            if number % 50 == 49 {
                assert!(sink.flush(DEADLINE));
            }
        }
        assert!(sink.flush(DEADLINE));
        let aside = |number: u32| folder.path().join(format!("access.log.{number}"));
        let mut found: Vec<u64> = (1..=max_files).rev().flat_map(|number| numbers(&aside(number))).collect();
        found.extend(numbers(&path));
        assert_eq!(found.last(), Some(&999));
        assert!(found.is_sorted_by(|one, next| one + 1 == *next), "no line is lost between two files");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), max_files as usize + 1);
        for file in fs::read_dir(folder.path()).unwrap() {
            let size = file.unwrap().metadata().unwrap().len();
            assert!(size <= max_size, "{size}");
        }
        for number in 1..=max_files {
            assert!(fs::metadata(aside(number)).unwrap().len() > max_size / 2, "files are filled before they are put aside");
        }
    };
    check(0);
    check(1);
    check(3);
}

#[test]
fn a_line_longer_than_a_file_is_written_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let sink = to_file(&path, Some(Rotation { max_size: 1, max_files: 2 }));
    (0..5).for_each(|number| sink.offer(line(number)));
    assert!(sink.flush(DEADLINE));
    let aside = |number: u32| folder.path().join(format!("access.log.{number}"));
    assert_eq!([numbers(&aside(2)), numbers(&aside(1)), numbers(&path)], [[2], [3], [4]]);
    assert_eq!(lost(&sink), (0, 0));
}

#[test]
fn a_size_reached_before_the_start_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    fs::write(&path, "{\"request_bytes\":7}\n".repeat(100)).unwrap();
    let sink = to_file(&path, Some(Rotation { max_size: 1000, max_files: 1 }));
    sink.offer(line(8));
    assert!(sink.flush(DEADLINE));
    assert_eq!((numbers(&path), numbers(&folder.path().join("access.log.1")).len()), (vec![8], 100));
}

#[test]
fn a_file_that_was_moved_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let sink = to_file(&path, None);
    sink.offer(line(1));
    assert!(sink.flush(DEADLINE));
    fs::rename(&path, folder.path().join("moved")).unwrap();
    until("lines go to a new file under the old name", || {
        sink.offer(line(2));
        sink.flush(DEADLINE) && path.exists()
    });
    assert_eq!(numbers(&folder.path().join("moved"))[0], 1);
    assert!(numbers(&path).iter().all(|number| *number == 2));
    assert_eq!(lost(&sink), (0, 0));
}

#[test]
fn a_folder_that_vanishes_costs_lines_until_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let path = logs.join("access.log");
    let sink = to_file(&path, Some(Rotation { max_size: 1 << 20, max_files: 1 }));
    sink.offer(line(1));
    assert!(sink.flush(DEADLINE));
    fs::remove_dir_all(&logs).unwrap();
    until("lines that nobody will see count as lost", || {
        sink.offer(line(2));
        sink.flush(DEADLINE) && lost(&sink).1 > 0
    });
    fs::create_dir(&logs).unwrap();
    until("the log goes on by itself", || {
        sink.offer(line(3));
        sink.flush(DEADLINE) && path.exists()
    });
    sink.offer(line(4));
    assert!(sink.flush(DEADLINE));
    let found = numbers(&path);
    assert!(found[0] == 3 && found.last() == Some(&4), "{found:?}");
}

#[test]
fn a_file_that_is_gone_is_gone_until_it_is_looked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let mut target = Output::File { path: logs.join("access.log"), rotation: None }.open().unwrap();
    fs::remove_dir_all(&logs).unwrap();
    until("it is looked for", || target.prepare(1).is_err());
    // Nothing changes between two looks, so nothing is over and begins again.
    assert!((0..100).all(|_| target.prepare(1).is_err() && target.write(b"x").is_err()));
}

#[test]
fn trouble_is_said_when_it_begins_and_when_it_is_over() {
    let written = |lost: u64, failed: bool, unprepared: bool| Written {
        lost: [lost, 0],
        failed: failed.then(|| std::io::ErrorKind::NotFound.into()),
        unprepared: unprepared.then(|| std::io::ErrorKind::NotFound.into()),
    };
    let mut trouble = Trouble::None;
    let mut check = |batch: Written, expected: Trouble| {
        trouble = trouble.after(&batch);
        assert_eq!(trouble, expected);
    };
    check(written(0, false, false), Trouble::None);
    check(written(2, true, true), Trouble::Failing(2));
    check(written(3, true, true), Trouble::Failing(5));
    check(written(0, false, true), Trouble::Misplaced);
    check(written(0, false, false), Trouble::None);
    check(written(1, true, false), Trouble::Failing(1));
    check(written(0, false, false), Trouble::None);
}

#[test]
fn a_rotation_that_fails_keeps_no_line_from_being_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    // A folder that is not empty cannot be replaced by a file.
    fs::create_dir_all(folder.path().join("access.log.1/x")).unwrap();
    let sink = to_file(&path, Some(Rotation { max_size: 1000, max_files: 1 }));
    for number in 0..100 {
        sink.offer(line(number));
        assert!(sink.flush(DEADLINE));
    }
    assert_eq!(numbers(&path), (0..100).collect::<Vec<_>>());
    assert_eq!(lost(&sink), (0, 0));
}

#[test]
fn a_flush_is_over_however_many_lines_come_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Arc::new(to_file(&folder.path().join("access.log"), None));
    let again = Arc::downgrade(&sink);
    // Each line that is written brings another.
    sink.set_tap(Some(Box::new(move |_, _| {
        if let Some(sink) = again.upgrade() {
            sink.offer(line(1));
        }
    })));
    sink.offer(line(0));
    assert!(sink.flush(DEADLINE));
    sink.set_tap(None);
}
