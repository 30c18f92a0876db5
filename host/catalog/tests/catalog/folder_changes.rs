//! Everything that can be done to a folder of plugins, and what is live after it.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use watchgate_catalog::WatchMode;

use crate::world::{Setup, World};

#[tokio::test]
async fn a_file_dropped_in_is_live_within_half_a_second() {
    let world = World::empty().await;
    let closed = Instant::now();
    world.write("a.wasm", "redaction v1");
    world.shows(&["a live redaction #1"]).await;
    assert!(closed.elapsed() < Duration::from_millis(500), "{:?}", closed.elapsed());
    assert_eq!(world.verdict().await.as_deref(), Some("a v1"));
}

#[tokio::test]
async fn overwriting_renaming_over_and_deleting_are_followed() {
    let world = World::empty().await;
    world.write("a.wasm", "redaction v1");
    world.shows(&["a live redaction #1"]).await;
    world.write("a.wasm", "redaction v2");
    world.shows(&["a live redaction #2"]).await;
    assert_eq!(world.verdict().await.as_deref(), Some("a v2"));
    world.rename_in("a.wasm", "redaction v3");
    world.shows(&["a live redaction #3"]).await;
    assert_eq!(world.verdict().await.as_deref(), Some("a v3"));
    world.remove("a.wasm");
    world.shows(&[]).await;
    assert_eq!(world.verdict().await, None);
    assert_eq!((world.reloads("live", ""), world.reloads("removed", "")), (3.0, 1.0));
    // A number is never used twice.
    world.write("a.wasm", "redaction v4");
    world.shows(&["a live redaction #4"]).await;
}

#[tokio::test]
async fn a_slow_writer_is_never_read_half_way() {
    let world = World::empty().await;
    let mut file = std::fs::File::create(world.path("a.wasm")).unwrap();
    for piece in ["redac", "tion heal", "th v", "1"] {
        file.write_all(piece.as_bytes()).unwrap();
        // Slower than two scans that find the same: what is tested is a writer that takes its time.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    drop(file);
    world.shows(&["a live redaction+health #1"]).await;
    assert_eq!(world.loads(), ["a: redaction health v1"]);
}

#[tokio::test]
async fn by_polling_a_growing_file_is_waited_for() {
    let world = World::start(Setup { watch: WatchMode::Poll, ..Setup::default() }, |_| {});
    world.catalog.first_scan().await;
    let mut file = std::fs::File::create(world.path("a.wasm")).unwrap();
    for piece in ["redac", "tion heal", "th v", "1"] {
        file.write_all(piece.as_bytes()).unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    drop(file);
    world.shows(&["a live redaction+health #1"]).await;
    world.remove("a.wasm");
    world.shows(&[]).await;
}

#[tokio::test]
async fn a_link_turned_to_another_file_is_followed() {
    let world = World::empty().await;
    let versions = tempfile::tempdir().unwrap();
    for version in ["v1", "v2"] {
        std::fs::write(versions.path().join(version), format!("redaction {version}")).unwrap();
    }
    symlink(versions.path().join("v1"), world.path("a.wasm")).unwrap();
    world.shows(&["a live redaction #1"]).await;
    symlink(versions.path().join("v2"), world.path(".next")).unwrap();
    std::fs::rename(world.path(".next"), world.path("a.wasm")).unwrap();
    world.shows(&["a live redaction #2"]).await;
    assert_eq!(world.verdict().await.as_deref(), Some("a v2"));
    // A link that points nowhere is a file that cannot be read, not one that was removed.
    std::fs::remove_file(versions.path().join("v2")).unwrap();
    world.catalog.reload_now();
    world.shows(&["a live_stale redaction #2 !unreadable"]).await;
}

/// Lays out one state of a ConfigMap volume.
fn config_map(folder: &Path, state: &str, component: &str, settings: &str) {
    std::fs::create_dir(folder.join(state)).unwrap();
    std::fs::write(folder.join(state).join("a.wasm"), component).unwrap();
    std::fs::write(folder.join(state).join("a.toml"), settings).unwrap();
}

#[tokio::test]
async fn a_config_map_swap_is_followed() {
    let world = World::start(Setup::default(), |folder| {
        config_map(folder, "..v1", "redaction v1", "order = 1");
        symlink("..v1", folder.join("..data")).unwrap();
        for file in ["a.wasm", "a.toml"] {
            symlink(Path::new("..data").join(file), folder.join(file)).unwrap();
        }
    });
    world.shows(&["a live redaction #1"]).await;
    config_map(&world.folder, "..v2", "redaction v2", "order = 2");
    symlink("..v2", world.path("..data_tmp")).unwrap();
    std::fs::rename(world.path("..data_tmp"), world.path("..data")).unwrap();
    std::fs::remove_dir_all(world.path("..v1")).unwrap();
    world.shows(&["a live redaction #2"]).await;
    assert_eq!(world.verdict().await.as_deref(), Some("a v2"));
    // Both files changed at once, so there is no generation that mixes them.
    assert_eq!(world.loads(), ["a: redaction v1", "a: redaction v2"]);
}

#[tokio::test]
async fn delete_and_create_again_is_a_replacement() {
    let world = World::empty().await;
    world.write("a.wasm", "redaction v1");
    world.shows(&["a live redaction #1"]).await;
    world.remove("a.wasm");
    world.write("a.wasm", "redaction v2");
    world.shows(&["a live redaction #2"]).await;
    assert_eq!(world.reloads("removed", ""), 0.0);
}

#[tokio::test]
async fn the_folder_may_go_and_come_back() {
    let world = World::empty().await;
    world.write("a.wasm", "redaction v1");
    world.shows(&["a live redaction #1"]).await;
    // Its files come back with it: nothing was ever removed.
    let away = world.folder.with_extension("away");
    std::fs::rename(&world.folder, &away).unwrap();
    std::fs::rename(&away, &world.folder).unwrap();
    world.write("b.wasm", "health v1");
    world.shows(&["a live redaction #1", "b live health #1"]).await;
    assert_eq!(world.reloads("removed", ""), 0.0);
    // A new folder in its place is watched like the old one; what it lacks is removed.
    std::fs::remove_dir_all(&world.folder).unwrap();
    std::fs::create_dir(&world.folder).unwrap();
    world.write("b.wasm", "health v2");
    world.shows(&["b live health #2"]).await;
    world.write("b.wasm", "health v3");
    world.shows(&["b live health #3"]).await;
    assert_eq!((world.reloads("live", ""), world.reloads("removed", "")), (4.0, 1.0));
}

#[tokio::test]
async fn a_link_to_the_folder_may_be_turned_to_another() {
    let world = World::start(Setup { has_no_folder: true, ..Setup::default() }, |_| {});
    world.catalog.first_scan().await;
    let releases = tempfile::tempdir().unwrap();
    for release in ["r1", "r2"] {
        std::fs::create_dir(releases.path().join(release)).unwrap();
        std::fs::write(releases.path().join(release).join("a.wasm"), format!("redaction {release}")).unwrap();
    }
    symlink(releases.path().join("r1"), &world.folder).unwrap();
    world.shows(&["a live redaction #1"]).await;
    let next = world.folder.with_extension("next");
    symlink(releases.path().join("r2"), &next).unwrap();
    std::fs::rename(&next, &world.folder).unwrap();
    world.shows(&["a live redaction #2"]).await;
    assert_eq!(world.verdict().await.as_deref(), Some("a r2"));
    // The new target is watched, not the old one.
    world.write("a.wasm", "redaction r3");
    world.shows(&["a live redaction #3"]).await;
}

#[tokio::test]
async fn a_file_that_becomes_readable_is_found() {
    let world = World::empty().await;
    let target = tempfile::tempdir().unwrap();
    symlink(target.path().join("later"), world.path("a.wasm")).unwrap();
    world.shows(&["a refused !unreadable"]).await;
    // No event tells of this: the file is not in the folder.
    std::fs::write(target.path().join("later"), "redaction v1").unwrap();
    world.shows(&["a live redaction #1"]).await;
    assert_eq!(world.reloads("refused", "unreadable"), 1.0);
}

#[tokio::test]
async fn two_plugins_at_once_both_go_live() {
    let world = World::empty().await;
    for round in 1..=20 {
        world.write("a.wasm", format!("redaction v{round}"));
        world.rename_in("b.wasm", &format!("health v{round}"));
        world.shows(&[&format!("a live redaction #{round}"), &format!("b live health #{round}")]).await;
    }
}

#[tokio::test]
async fn a_folder_that_appears_later_is_found() {
    let world = World::start(Setup { has_no_folder: true, required: vec!["a".to_owned()], ..Setup::default() }, |_| {});
    world.catalog.first_scan().await;
    world.shows(&["a missing required"]).await;
    std::fs::create_dir(&world.folder).unwrap();
    world.write("a.wasm", "redaction v1");
    world.shows(&["a live redaction #1 required"]).await;
}

#[tokio::test]
async fn what_is_no_plugin_is_left_alone_or_refused() {
    let world = World::start(Setup::default(), |folder| {
        std::fs::write(folder.join(".hidden.wasm"), "redaction v1").unwrap();
        std::fs::write(folder.join("notes.txt"), "redaction v1").unwrap();
        std::fs::write(folder.join("lonely.toml"), "order = 1").unwrap();
        std::fs::create_dir(folder.join("deeper")).unwrap();
        std::fs::write(folder.join("deeper").join("b.wasm"), "redaction v1").unwrap();
        std::fs::write(folder.join("so odd.wasm"), "redaction v1").unwrap();
        std::fs::create_dir(folder.join("directory.wasm")).unwrap();
        std::os::unix::net::UnixListener::bind(folder.join("socket.wasm")).unwrap();
        let huge = std::fs::File::create(folder.join("huge.wasm")).unwrap();
        huge.set_len((64 << 20) + 1).unwrap();
    });
    world.catalog.first_scan().await;
    world
        .shows(&["directory refused !not-a-file", "huge refused !too-large", "socket refused !not-a-file", "so odd refused !bad-name"])
        .await;
    assert_eq!(world.loads(), [""; 0]);
    for reason in ["not-a-file", "too-large", "bad-name"] {
        assert!(world.reloads("refused", reason) > 0.0, "{reason}");
    }
    world.remove("so odd.wasm");
    world.remove("huge.wasm");
    world.shows(&["directory refused !not-a-file", "socket refused !not-a-file"]).await;
}
