//! The live cell and the status board.

use std::sync::Arc;

use watchgate_hooks::{Generation, HookSet, LiveHooks, PluginState, PluginStatus, StatusBoard};

use crate::queue::{Recorder, Settings};
use crate::scripted::telemetry;

#[tokio::test]
async fn a_swap_is_seen_at_once_and_wakes_those_who_wait() {
    let live = Arc::new(LiveHooks::new(HookSet::empty()));
    let mut swaps = live.subscribe();
    let held = live.load_full();
    assert_eq!(live.version(), 0);

    let old = live.swap(HookSet { missing_required: vec!["redact".to_owned()], ..HookSet::empty() });
    assert!(Arc::ptr_eq(&old, &held));
    assert_eq!(live.load().missing_required, ["redact"]);
    assert_eq!(held.missing_required, [""; 0]);
    swaps.changed().await.unwrap();
    assert_eq!(live.version(), 1);
    assert!(!swaps.has_changed().unwrap());
}

#[tokio::test]
async fn text_is_kept_while_a_live_derivation_wants_it() {
    let live = Arc::new(LiveHooks::new(HookSet::empty()));
    let telemetry = telemetry();
    let set = |keeps_text| {
        let queue = Recorder::new(Settings { keeps_text, ..Settings::default() }).queue(&live, &telemetry);
        HookSet { derivations: vec![queue], ..HookSet::empty() }
    };
    let mut seen = vec![live.keeps_text()];
    for next in [set(false), set(true), HookSet::empty()] {
        live.swap(next);
        seen.push(live.keeps_text());
    }
    assert_eq!(seen, [false, false, true, false]);
}

#[test]
fn the_board_shows_what_was_published_last() {
    let board = StatusBoard::new();
    assert!(board.read().is_empty());
    let status = PluginStatus {
        name: "redact".to_owned(),
        state: PluginState::Live,
        required: true,
        kinds: [watchgate_hooks::PluginKind::Redaction].into(),
        generation: Some(Generation(3)),
        hash: Some("ab".to_owned()),
        size_bytes: Some(1),
        live_since_ms: Some(2),
        refusal: None,
        refusal_detail: None,
        refused_at_ms: None,
    };
    board.publish(vec![status]);
    let shown = serde_json::to_value(&*board.read()).unwrap();
    assert_eq!(shown[0]["state"], "live");
    assert_eq!(shown[0]["kinds"], serde_json::json!(["redaction"]));
    assert_eq!(shown[0]["generation"], 3);
}
