//! While plugins loop, their neighbours are served.

use std::time::{Duration, Instant};

use serde_json::json;
use watchgate_hooks::FailureReason;

use crate::rig::{Rig, configured, guest, policy, redact, request};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neighbours_are_served_while_guests_loop() {
    let rig = Rig::new();
    let good = rig.live("redactor", guest("guest_redactor"), configured(json!({}))).await;
    let mut loops = Vec::new();
    let mut evils = Vec::new();
    for number in 0..4 {
        let mut settings = configured(json!({ "redact": "loop", "when": "now" }));
        settings.limits.cpu = Some(Duration::from_millis(100));
        let evil = rig.live(&format!("evil-{number}"), guest("guest_probe"), settings).await;
        for _ in 0..8 {
            let policy = policy(&evil);
            loops.push(tokio::spawn(async move { policy.redact(request("now")).await }));
        }
        evils.push(evil);
    }
    // 32 loops of 100 ms of CPU time each: at least 1.6 s on two cores.
    let mut waits = Vec::new();
    let neighbour = tokio::spawn(async move {
        while waits.len() < 300 {
            let began = Instant::now();
            redact(&good, "a redactor-secret").await.unwrap();
            waits.push(began.elapsed());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        waits.sort();
        waits
    });
    let waits = neighbour.await.unwrap();
    let looping = loops.iter().filter(|call| !call.is_finished()).count();
    assert!(looping > 0, "the loops ended before the neighbour did");
    for call in loops {
        let reason = call.await.unwrap().unwrap_err().reason;
        assert!(matches!(reason, FailureReason::CpuTimeout | FailureReason::Quarantined), "{reason:?}");
    }
    // The promise is 2 ms at the 99th percentile on an otherwise idle machine (`cargo xtask bench` measures it); a shared test machine
    // gets room for its own pauses. Without the slow lane the median alone is above this.
    println!("neighbour: p50 {:?} p90 {:?} p99 {:?} max {:?}", waits[150], waits[270], waits[297], waits[299]);
    let (median, late) = (waits[150], waits[285]);
    assert!(median < Duration::from_millis(3) && late < Duration::from_millis(30), "median {median:?}, 95th percentile {late:?}");
    drop(evils);
}
