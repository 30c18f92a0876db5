//! Real files and their real events: what is a change, and when.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use tempfile::TempDir;

use super::*;

/// Longer than anything here takes, on a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(30);

fn file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("watchgate.toml");
    fs::write(&path, text).unwrap();
    (folder, path)
}

async fn watching(path: &Path) -> ConfigWatch {
    let mut watch = ConfigWatch::new(Some(path.to_owned()));
    watch.look().await;
    watch
}

/// Waits for the next change and looks at it; how long that took.
async fn change(watch: &mut ConfigWatch) -> Duration {
    let begun = Instant::now();
    timeout(DEADLINE, watch.changed()).await.expect("a change is noticed");
    watch.look().await;
    begun.elapsed()
}

/// Waits until an event has said that the file is being written.
async fn until_writing(watch: &ConfigWatch) {
    let waiting = async {
        while !watch.are_writing() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, waiting).await.expect("an event comes");
}

#[tokio::test]
async fn a_file_that_is_open_for_writing_is_no_change_until_it_is_closed() {
    let (_folder, path) = file("whole");
    let mut watch = watching(&path).await;
    let mut writer = File::create(&path).unwrap();
    writer.write_all(b"half").unwrap();
    until_writing(&watch).await;
    // Longer than it takes for a file without events to be believed.
    assert!(timeout(CALM * 3 / 2, watch.changed()).await.is_err(), "half a file is taken for a whole one");
    assert!(!watch.is_written().await);
    writer.write_all(b" and half").unwrap();
    drop(writer);
    change(&mut watch).await;
    assert!(watch.is_written().await);
}

#[tokio::test]
async fn what_is_closed_or_renamed_is_believed_at_once() {
    let (folder, path) = file("one");
    let mut watch = watching(&path).await;
    fs::write(&path, "two").unwrap();
    assert!(change(&mut watch).await < CALM);
    let beside = folder.path().join("beside");
    fs::write(&beside, "three").unwrap();
    fs::rename(&beside, &path).unwrap();
    assert!(change(&mut watch).await < CALM);
    // Nothing new in it.
    fs::write(&path, "three").unwrap();
    assert!(timeout(SETTLE * 5, watch.changed()).await.is_err());
}

#[tokio::test]
async fn without_events_what_is_still_for_a_while_is_believed() {
    let (_folder, path) = file("one");
    let mut watch = watching(&path).await;
    watch.watcher = None;
    fs::write(&path, "two").unwrap();
    assert!(change(&mut watch).await >= CALM);
}

#[tokio::test]
async fn what_is_doubted_is_a_change_once_more_when_it_has_been_still() {
    let (_folder, path) = file("one");
    let mut watch = watching(&path).await;
    fs::write(&path, "half").unwrap();
    change(&mut watch).await;
    assert!(!watch.is_confirmed());
    watch.doubt();
    assert!(change(&mut watch).await >= CALM);
    assert!(watch.is_confirmed());
    // Something else in its place is believed, or doubted, for itself.
    fs::write(&path, "another half").unwrap();
    change(&mut watch).await;
    watch.doubt();
    fs::write(&path, "whole").unwrap();
    assert!(change(&mut watch).await < CALM);
    assert!(!watch.is_confirmed());
}
