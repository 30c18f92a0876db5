//! Which scans and events make a change: each test is a timeline in milliseconds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::{FileEvent, Folder};
use crate::sighting::{Content, Digest, FileKey, Part, Scan, Sighting};

/// One step of a timeline.
enum Step {
    /// An event about `a.wasm` or `a.toml`.
    Event(u64, &'static str, FileEvent),
    /// A scan that finds these files with these contents, and the versions that it reports as `wasm+toml`.
    Scan(u64, &'static [(&'static str, u8)], &'static [&'static str]),
    /// The same, but nothing has touched the files for long.
    Quiet(u64, &'static [(&'static str, u8)], &'static [&'static str]),
    /// A scan during which these files changed.
    Moving(u64, &'static [&'static str]),
    /// A scan that could not list the folder.
    Gone(u64),
    /// Events were lost.
    Lost,
}

use FileEvent::{Finished, Replaced, Written};
use Step::{Event, Gone, Lost, Moving, Quiet, Scan as Look};

fn key(file: &str) -> FileKey {
    let (name, extension) = file.rsplit_once('.').unwrap();
    FileKey { name: name.to_owned(), part: if extension == "wasm" { Part::Component } else { Part::Settings } }
}

fn listed(files: &[(&str, u8)], quiet: bool) -> Scan {
    let still = |byte: u8| Sighting::Still { stamp: None, content: Content::Bytes(Digest([byte; 32])), quiet };
    Scan::Listed { files: files.iter().map(|(file, byte)| (key(file), still(*byte))).collect(), odd_names: BTreeSet::new() }
}

fn moving(files: &[&str]) -> Scan {
    let files: BTreeMap<_, _> = files.iter().map(|file| (key(file), Sighting::BeingWritten)).collect();
    Scan::Listed { files, odd_names: BTreeSet::new() }
}

fn shown(content: Option<&Content>) -> String {
    match content {
        Some(Content::Bytes(digest)) => digest.0[0].to_string(),
        Some(Content::Problem(problem)) => format!("{problem:?}"),
        None => "-".to_owned(),
    }
}

/// Plays a timeline and checks what every scan reports.
fn check(steps: &[Step]) {
    let start = Instant::now();
    let at = |millis: u64| start + Duration::from_millis(millis);
    let mut folder = Folder::default();
    for step in steps {
        let (time, scan, expected) = match step {
            Event(time, file, event) => {
                folder.note(&key(file), *event, at(*time));
                continue;
            }
            Lost => {
                folder.forget_events();
                continue;
            }
            Look(time, files, expected) => (*time, listed(files, false), *expected),
            Quiet(time, files, expected) => (*time, listed(files, true), *expected),
            Moving(time, files) => (*time, moving(files), &[] as &[&str]),
            Gone(time) => (*time, Scan::Unreadable("no such folder".to_owned()), &[] as &[&str]),
        };
        let changes = folder.observe(at(time), &scan);
        let found: Vec<String> = changes
            .iter()
            .map(|change| {
                let (component, settings) = (shown(change.version.component.as_ref()), shown(change.version.settings.as_ref()));
                format!("{} {component}+{settings}", change.name)
            })
            .collect();
        assert_eq!(found, expected, "at {time} ms");
        if let Some(next) = folder.next_scan() {
            assert!(next > at(time), "at {time} ms a scan is wanted that is already over");
        }
    }
}

#[test]
fn a_closed_file_is_seen_after_the_debounce() {
    check(&[
        Event(0, "a.wasm", Replaced),
        Event(0, "a.wasm", Written),
        Event(5, "a.wasm", Finished),
        Look(20, &[("a.wasm", 1)], &[]),
        Look(25, &[("a.wasm", 1)], &["a 1+-"]),
        Look(500, &[("a.wasm", 1)], &[]),
    ]);
}

#[test]
fn without_events_two_equal_scans_settle_a_file() {
    check(&[
        Look(0, &[("a.wasm", 1)], &[]),
        Look(100, &[("a.wasm", 2)], &[]),
        Look(200, &[("a.wasm", 2)], &[]),
        Look(249, &[("a.wasm", 2)], &[]),
        Look(250, &[("a.wasm", 2)], &["a 2+-"]),
    ]);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_not_settled() {
    check(&[
        Look(0, &[("a.wasm", 1)], &[]),
        Moving(150, &["a.wasm"]),
        Look(300, &[("a.wasm", 1)], &[]),
        Look(450, &[("a.wasm", 1)], &["a 1+-"]),
    ]);
}

#[test]
fn a_file_that_nobody_touched_for_long_is_seen_at_once() {
    check(&[Quiet(0, &[("a.wasm", 1), ("a.toml", 2)], &["a 1+2"])]);
}

#[test]
fn a_slow_writer_is_waited_for() {
    check(&[
        Event(0, "a.wasm", Written),
        Look(20, &[("a.wasm", 1)], &[]),
        Event(400, "a.wasm", Written),
        Look(800, &[("a.wasm", 2)], &[]),
        Look(1000, &[("a.wasm", 2)], &[]),
        Event(1200, "a.wasm", Finished),
        Look(1220, &[("a.wasm", 3)], &["a 3+-"]),
    ]);
}

#[test]
fn a_writer_that_never_closes_is_not_waited_for_without_end() {
    check(&[
        Event(0, "a.wasm", Written),
        Look(4999, &[("a.wasm", 1)], &[]),
        Look(5000, &[("a.wasm", 1)], &[]),
        Look(5150, &[("a.wasm", 1)], &["a 1+-"]),
    ]);
}

#[test]
fn writing_again_after_a_close_unsettles_the_file() {
    check(&[
        Event(0, "a.wasm", Finished),
        Event(10, "a.wasm", Written),
        Look(30, &[("a.wasm", 1)], &[]),
        Event(40, "a.wasm", Finished),
        Look(60, &[("a.wasm", 2)], &["a 2+-"]),
    ]);
}

#[test]
fn a_close_during_a_scan_says_nothing_about_what_it_saw() {
    check(&[
        // The scan began at 20; the events came in while it read.
        Event(30, "a.wasm", Written),
        Event(40, "a.wasm", Finished),
        Look(20, &[("a.wasm", 1)], &[]),
        Look(60, &[("a.wasm", 2)], &["a 2+-"]),
    ]);
}

#[test]
fn lost_events_fall_back_to_two_scans() {
    check(&[Event(0, "a.wasm", Written), Lost, Look(10, &[("a.wasm", 1)], &[]), Look(160, &[("a.wasm", 1)], &["a 1+-"])]);
}

#[test]
fn a_removal_takes_two_scans() {
    check(&[
        Quiet(0, &[("a.wasm", 1)], &["a 1+-"]),
        Look(100, &[], &[]),
        Look(349, &[], &[]),
        Look(350, &[], &["a -+-"]),
        Look(900, &[], &[]),
    ]);
}

#[test]
fn a_file_back_in_time_was_never_removed() {
    check(&[
        Quiet(0, &[("a.wasm", 1)], &["a 1+-"]),
        Event(90, "a.wasm", Replaced),
        Look(100, &[], &[]),
        Event(200, "a.wasm", Finished),
        Look(220, &[("a.wasm", 2)], &["a 2+-"]),
        Look(240, &[], &[]),
        Look(300, &[("a.wasm", 2)], &[]),
        Look(400, &[], &[]),
        Look(640, &[], &[]),
        Look(650, &[], &["a -+-"]),
    ]);
}

#[test]
fn a_folder_that_is_gone_removes_nothing() {
    check(&[
        Quiet(0, &[("a.wasm", 1)], &["a 1+-"]),
        Look(100, &[], &[]),
        Gone(200),
        Gone(100_000),
        // Absence is counted anew.
        Look(100_100, &[], &[]),
        Look(100_200, &[("a.wasm", 1)], &[]),
        Gone(100_300),
        Look(100_400, &[], &[]),
        Look(100_650, &[], &["a -+-"]),
    ]);
}

#[test]
fn both_files_are_waited_for() {
    check(&[
        Event(0, "a.wasm", Finished),
        Event(10, "a.toml", Written),
        Look(20, &[("a.wasm", 1), ("a.toml", 7)], &[]),
        Event(30, "a.toml", Finished),
        Look(50, &[("a.wasm", 1), ("a.toml", 8)], &["a 1+8"]),
    ]);
}

#[test]
fn each_of_the_two_files_makes_a_change() {
    check(&[
        Quiet(0, &[("a.wasm", 1), ("a.toml", 7)], &["a 1+7"]),
        Event(10, "a.toml", Finished),
        Look(30, &[("a.wasm", 1), ("a.toml", 8)], &["a 1+8"]),
        Look(40, &[("a.wasm", 1)], &[]),
        Look(290, &[("a.wasm", 1)], &["a 1+-"]),
        Look(300, &[("a.toml", 8)], &[]),
        Look(550, &[("a.toml", 8)], &["a -+8"]),
    ]);
}

#[test]
fn writing_the_same_again_is_no_change() {
    check(&[
        Quiet(0, &[("a.wasm", 1)], &["a 1+-"]),
        Event(10, "a.wasm", Written),
        Event(12, "a.wasm", Finished),
        Look(32, &[("a.wasm", 1)], &[]),
    ]);
}

#[test]
fn a_swap_that_no_event_names_is_found() {
    // Kubernetes turns `..data` to another directory; the files' own links stay as they are.
    check(&[
        Quiet(0, &[("a.wasm", 1), ("a.toml", 2)], &["a 1+2"]),
        Look(100, &[("a.wasm", 3), ("a.toml", 4)], &[]),
        Look(250, &[("a.wasm", 3), ("a.toml", 4)], &["a 3+4"]),
    ]);
}

#[test]
fn an_event_about_a_file_that_is_gone_again_asks_for_no_scan() {
    check(&[Event(0, "a.wasm", Finished), Look(20, &[], &[]), Event(30, "a.wasm", Written), Look(50, &[], &[])]);
}
