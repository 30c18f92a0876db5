//! From a settled file to a live generation, or to a refusal that changes nothing else.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use watchgate_hooks::Operation;
use watchgate_mcp::{ContentCounts, Direction, Outcome};

use crate::world::{Setup, World};

#[tokio::test]
async fn a_broken_file_changes_nothing_but_the_status() {
    let world = World::empty().await;
    world.write("a.wasm", "redaction v1");
    world.shows(&["a live redaction #1"]).await;
    for (broken, reason) in [("", "no-kind"), ("redaction v2 !trial", "trial-failed")] {
        world.write("a.wasm", broken);
        world.shows(&[&format!("a live_stale redaction #1 !{reason}")]).await;
        assert_eq!(world.verdict().await.as_deref(), Some("a v1"));
        assert_eq!(world.reloads("refused", reason), 1.0);
    }
    let metrics = world.telemetry.render_prometheus();
    assert!(metrics.contains("watchgate_plugin_state{plugin=\"a\",state=\"live_stale\"} 1"), "{metrics}");
    assert!(metrics.contains("watchgate_plugin_generation{plugin=\"a\"} 1"), "{metrics}");
    // Mended, and put back as it was: the latter needs no load.
    world.write("a.wasm", "redaction v3");
    world.shows(&["a live redaction #2"]).await;
    world.write("a.wasm", "nothing");
    world.shows(&["a live_stale redaction #2 !no-kind"]).await;
    world.write("a.wasm", "redaction v3");
    world.shows(&["a live redaction #2"]).await;
    assert_eq!(world.loads().iter().filter(|load| load.ends_with("v3")).count(), 1);
}

#[tokio::test]
async fn a_first_file_that_is_broken_is_refused_and_forgotten_with_it() {
    let world = World::empty().await;
    world.write("a.wasm", "nothing");
    world.shows(&["a refused !no-kind"]).await;
    world.remove("a.wasm");
    world.shows(&[]).await;
    assert!(!world.telemetry.render_prometheus().contains("state=\"refused\"} 1"));
}

#[tokio::test]
async fn a_refused_file_is_not_tried_again_until_it_changes() {
    let world = World::empty().await;
    world.write("a.wasm", "nothing");
    world.shows(&["a refused !no-kind"]).await;
    // The same content again is no change.
    world.write("a.wasm", "nothing");
    world.write("b.wasm", "health v1");
    world.shows(&["a refused !no-kind", "b live health #1"]).await;
    assert_eq!(world.loads(), ["a: nothing", "b: health v1"]);
    // Its settings are.
    world.write("a.toml", "order = 1");
    world.until("a third load", |_| world.loads().len() == 3).await;
    // So is an operator's word.
    world.catalog.reload_now();
    world.write("c.wasm", "health v1");
    world.until("c live", |lines| lines.iter().any(|line| line.starts_with("c live"))).await;
    assert_eq!(world.loads().iter().filter(|load| load.starts_with("a:")).count(), 3);
}

#[tokio::test]
async fn settings_are_hot() {
    let world = World::empty().await;
    world.write("a.wasm", "redaction v1");
    world.shows(&["a live redaction #1"]).await;
    world.write("b.wasm", "redaction v1");
    world.shows(&["a live redaction #1", "b live redaction #1"]).await;
    assert_eq!(world.verdict().await.as_deref(), Some("a v1"));
    world.write("a.toml", "order = 5\nrequired = true\n[config]\ndepth = 3");
    world.shows(&["a live redaction #2 required", "b live redaction #1"]).await;
    assert_eq!(world.verdict().await.as_deref(), Some("b v1"));
    assert_eq!(world.loader.settings.lock().await.as_ref().unwrap().config_json, r#"{"depth":3}"#);
    // Mistakes keep the old generation and the old word on `required`.
    world.write("a.toml", "ordr = 5");
    world.until("bad settings", |lines| lines[0].starts_with("a live_stale redaction #2 !bad-settings")).await;
    let detail = world.board.read()[0].refusal_detail.clone().unwrap();
    assert_eq!(detail, "line 1: unknown key `ordr`; did you mean `order`?");
    assert_eq!(world.verdict().await.as_deref(), Some("b v1"));
    world.remove("a.toml");
    world.shows(&["a live redaction #3", "b live redaction #1"]).await;
    assert_eq!(world.verdict().await.as_deref(), Some("a v1"));
}

#[tokio::test]
async fn a_lost_kind_must_be_meant() {
    let world = World::empty().await;
    world.write("a.wasm", "redaction health v1");
    world.shows(&["a live redaction+health #1"]).await;
    world.write("a.wasm", "health v2");
    world.shows(&["a live_stale redaction+health #1 !kind-lost"]).await;
    assert_eq!(world.verdict().await.as_deref(), Some("a v1"));
    world.write("a.toml", "kinds = [\"health\"]");
    world.shows(&["a live health #2"]).await;
    // More kinds than before need no word, but kinds that are not listed are not used.
    world.write("a.wasm", "redaction health alerting v3");
    world.shows(&["a live health #3"]).await;
    world.remove("a.toml");
    world.shows(&["a live redaction+health+alerting #4"]).await;
}

#[tokio::test]
async fn a_required_plugin_is_missing_until_it_is_live() {
    let required = vec!["must".to_owned()];
    let world = World::start(Setup { required, ..Setup::default() }, |folder| std::fs::write(folder.join("must.wasm"), "nothing").unwrap());
    // From the very start, before the first scan.
    assert_eq!(world.live.load_full().missing_required, ["must"]);
    world.catalog.first_scan().await;
    world.shows(&["must refused !no-kind required"]).await;
    assert_eq!(world.live.load_full().missing_required, ["must"]);
    world.write("must.wasm", "redaction v1");
    world.shows(&["must live redaction #1 required"]).await;
    assert_eq!(world.live.load_full().missing_required, [""; 0]);
    // A broken successor leaves it live; removing it does not.
    world.write("must.wasm", "nothing");
    world.shows(&["must live_stale redaction #1 !no-kind required"]).await;
    assert_eq!(world.live.load_full().missing_required, [""; 0]);
    world.remove("must.wasm");
    world.shows(&["must missing required"]).await;
    assert_eq!(world.live.load_full().missing_required, ["must"]);
}

#[tokio::test]
async fn settings_can_require_without_a_component() {
    let world = World::empty().await;
    world.write("must.toml", "required = true");
    world.shows(&["must missing required"]).await;
    assert_eq!(world.live.load_full().missing_required, ["must"]);
    world.write("must.wasm", "nothing");
    world.shows(&["must refused !no-kind required"]).await;
    world.write("must.toml", "required = true\nwrong = 1");
    world.shows(&["must refused !bad-settings required"]).await;
    world.write("must.toml", "required = false");
    world.shows(&["must refused !no-kind"]).await;
    assert_eq!(world.live.load_full().missing_required, [""; 0]);
    world.write("must.toml", "required = true");
    world.shows(&["must refused !no-kind required"]).await;
    world.remove("must.toml");
    world.remove("must.wasm");
    world.shows(&[]).await;
    assert_eq!(world.live.load_full().missing_required, [""; 0]);
}

#[tokio::test]
async fn what_does_not_fit_now_is_tried_again() {
    let world = World::empty().await;
    world.loader.ledger.is_full.store(true, Ordering::SeqCst);
    world.write("a.wasm", "redaction v1 !no-capacity");
    world.shows(&["a refused !no-capacity"]).await;
    world.loader.ledger.is_full.store(false, Ordering::SeqCst);
    world.shows(&["a live redaction #1"]).await;
    // However often it was tried, it was refused once.
    assert_eq!(world.reloads("refused", "no-capacity"), 1.0);
}

#[tokio::test]
async fn a_newer_version_supersedes_the_one_that_loads() {
    let world = World::empty().await;
    world.write("a.wasm", "redaction v1 !hold");
    world.write("b.wasm", "health v1");
    let mut loads = Vec::new();
    // `a` was settled first or with `b`, and loads are one at a time.
    world.until("a load that is held", |_| true).await;
    while loads.is_empty() {
        tokio::task::yield_now().await;
        loads = world.loads();
    }
    assert_eq!(loads, ["a: redaction v1 !hold"]);
    world.write("a.wasm", "redaction v2");
    // The scan that finds it marks the held load; a third plugin shows that the scan was made.
    world.write("c.wasm", "nothing");
    world.loader.gate.add_permits(1);
    world.until("a live", |lines| lines.iter().any(|line| line.starts_with("a live"))).await;
    world.until("v2 live", |_| world.loads().contains(&"a: redaction v2".to_owned())).await;
    world.until("b and c done", |lines| lines.len() == 3 && lines[1].starts_with("b live") && lines[2].starts_with("c refused")).await;
    assert_eq!(world.verdict().await.as_deref(), Some("a v2"));
    assert!(!world.loader.ledger.overlapped.load(Ordering::SeqCst));
}

#[tokio::test]
async fn the_first_scan_waits_for_what_is_there() {
    let world = World::start(Setup::default(), |folder| {
        std::fs::write(folder.join("a.wasm"), "redaction v1").unwrap();
        std::fs::write(folder.join("b.wasm"), "derivation v1").unwrap();
        std::fs::write(folder.join("c.wasm"), "nothing").unwrap();
    });
    world.catalog.first_scan().await;
    // No waiting here: it has settled.
    assert_eq!(world.verdict().await.as_deref(), Some("a v1"));
    let states: Vec<String> = world.board.read().iter().map(|status| format!("{} {}", status.name, status.state.as_str())).collect();
    assert_eq!(states, ["a live", "b live", "c refused"]);
}

#[tokio::test]
async fn the_first_scan_waits_for_a_writer_but_not_for_ever() {
    let world = World::start(Setup { required: vec!["a".to_owned()], ..Setup::default() }, |_| {});
    let mut file = std::fs::File::create(world.path("a.wasm")).unwrap();
    let writer = async {
        loop {
            file.write_all(b" ").unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let begun = std::time::Instant::now();
    tokio::select! {
        () = world.catalog.first_scan() => {}
        () = writer => {}
    }
    // The catalog may have scanned before the file was there; then nothing was to be waited for.
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(world.live.load_full().missing_required, ["a"]);
    file.write_all(b"redaction v1").unwrap();
    drop(file);
    world.shows(&["a live redaction #1 required"]).await;
}

#[tokio::test]
async fn quarantine_shows_as_long_as_it_lasts() {
    let world = World::empty().await;
    world.write("a.wasm", "redaction v1");
    world.shows(&["a live redaction #1"]).await;
    let published = *world.catalog.subscribe().borrow();
    world.loader.ledger.quarantine(1);
    world.shows(&["a quarantined redaction #1"]).await;
    assert_eq!(world.live.load_full().missing_required, [""; 0]);
    world.loader.ledger.quarantine(0);
    world.shows(&["a live redaction #1"]).await;
    assert_eq!(*world.catalog.subscribe().borrow(), published + 2, "it was told, and did not need to look");
}

#[tokio::test]
async fn a_required_plugin_is_missing_while_it_is_quarantined() {
    let world = World::empty().await;
    world.write("a.toml", "required = true");
    world.write("a.wasm", "redaction v1");
    world.until("a live", |lines| lines == ["a live redaction #1 required"]).await;
    world.loader.ledger.quarantine(1);
    world.shows(&["a quarantined redaction #1 required"]).await;
    assert_eq!(world.live.load_full().missing_required, ["a"]);
    world.loader.ledger.quarantine(0);
    world.shows(&["a live redaction #1 required"]).await;
    assert_eq!(world.live.load_full().missing_required, [""; 0]);
}

/// What an operator does ends a quarantine by a new generation of the same files.
async fn check_ends_quarantine(act: impl FnOnce(&World)) {
    let world = World::empty().await;
    world.write("a.wasm", "redaction v1");
    world.shows(&["a live redaction #1"]).await;
    world.loader.ledger.quarantine(1);
    world.shows(&["a quarantined redaction #1"]).await;
    act(&world);
    world.shows(&["a live redaction #2"]).await;
    assert_eq!(world.loads(), ["a: redaction v1", "a: redaction v1"]);
}

#[tokio::test]
async fn whatever_an_operator_does_ends_a_quarantine() {
    check_ends_quarantine(|world| world.catalog.reload_now()).await;
    check_ends_quarantine(|world| world.write("a.wasm", "redaction v1")).await;
    check_ends_quarantine(|world| world.rename_in("a.wasm", "redaction v1")).await;
    check_ends_quarantine(|world| {
        let file = std::fs::File::options().write(true).open(world.path("a.wasm")).unwrap();
        file.set_modified(std::time::SystemTime::now()).unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_was_refused_during_a_quarantine_is_forgiven_with_it() {
    let world = World::empty().await;
    world.write("a.wasm", "redaction v1 !no-capacity");
    world.shows(&["a live redaction #1"]).await;
    world.loader.ledger.is_full.store(true, Ordering::SeqCst);
    world.loader.ledger.quarantine(1);
    world.shows(&["a quarantined redaction #1"]).await;
    world.catalog.reload_now();
    world.shows(&["a quarantined redaction #1 !no-capacity"]).await;
    world.loader.ledger.quarantine(0);
    world.shows(&["a live redaction #1"]).await;
}

#[tokio::test]
async fn the_same_file_again_is_no_change_otherwise() {
    let world = World::empty().await;
    world.write("a.wasm", "redaction v1");
    world.shows(&["a live redaction #1"]).await;
    world.write("a.wasm", "redaction v1");
    world.catalog.reload_now();
    world.write("b.wasm", "health v1");
    world.shows(&["a live redaction #1", "b live health #1"]).await;
    assert_eq!(world.loads().len(), 2);
}

fn operation() -> Operation {
    Operation {
        server: "weather".into(),
        direction: Direction::ClientToServer,
        method: "tools/call".into(),
        name: None,
        outcome: Outcome::Ok,
        error_code: None,
        duration: Duration::ZERO,
        upstream: Duration::ZERO,
        request_bytes: 0,
        response_bytes: 0,
        argument_bytes: 0,
        result_bytes: 0,
        content: ContentCounts::default(),
        protocol_version: None,
        request_text: None,
        response_text: None,
    }
}

#[tokio::test]
async fn a_retired_derivation_sees_what_waited_and_others_keep_their_queue() {
    let world = World::empty().await;
    world.write("a.wasm", "derivation v1");
    world.shows(&["a live derivation #1"]).await;
    world.write("b.wasm", "derivation v1");
    world.shows(&["a live derivation #1", "b live derivation #1"]).await;
    let before = world.live.load_full();
    for _ in 0..500 {
        before.derivations[0].offer(operation());
    }
    world.write("a.wasm", "derivation v2");
    world.shows(&["a live derivation #2", "b live derivation #1"]).await;
    let after = world.live.load_full();
    assert!(!Arc::ptr_eq(&before.derivations[0], &after.derivations[0]));
    assert!(Arc::ptr_eq(&before.derivations[1], &after.derivations[1]));
    drop((before, after));
    let loader = world.end().await;
    assert_eq!(loader.ledger.observed.load(Ordering::SeqCst), 500);
    assert_eq!(loader.ledger.alive.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_held_set_keeps_its_generation_alive() {
    let world = World::empty().await;
    world.write("a.wasm", "redaction v1");
    world.shows(&["a live redaction #1"]).await;
    let held = world.live.load_full();
    world.write("a.wasm", "redaction v2");
    world.shows(&["a live redaction #2"]).await;
    assert_eq!(world.loader.ledger.alive.load(Ordering::SeqCst), 2);
    drop(held);
    assert_eq!(world.end().await.ledger.alive.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_thousand_swaps_leave_nothing_behind() {
    let world = World::empty().await;
    for round in 1..=1000 {
        world.rename_in("a.wasm", &format!("redaction derivation v{round}"));
        let wanted = format!("a live redaction+derivation #{round}");
        world.shows(&[&wanted]).await;
    }
    assert_eq!(world.verdict().await.as_deref(), Some("a v1000"));
    assert_eq!(world.reloads("live", ""), 1000.0);
    let alive = world.loader.ledger.alive.load(Ordering::SeqCst);
    assert!(alive <= 10, "{alive} generations are alive before the last have drained");
    assert_eq!(world.end().await.ledger.alive.load(Ordering::SeqCst), 0);
}
