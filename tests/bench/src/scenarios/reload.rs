//! Swaps of a plugin under a steady load: how long until the new one is live, and whether calls notice.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use watchgate_tests::wait::{DEADLINE, wait_for};

use super::{Setting, request};
use crate::gateways::{Running, rebuilt};
use crate::latency::Latencies;
use crate::paced::{self, Pace, Paced};
use crate::report::{Figure, Section};

const SWAPS: u32 = 20;
const PACE: Pace = Pace { connections: 8, rate: 2000.0 };
/// Calls past the gateway meanwhile: what they lose is lost to the compiler taking a core, not to the gateway.
const PAST: Pace = Pace { connections: 1, rate: 200.0 };

/// Measures an idle plugin folder, then one in which a component is overwritten again and again.
pub fn measure(setting: &Setting) -> Result<Section> {
    let plugin = setting.redact_secrets()?;
    let running = Running::before(&setting.upstream.url(""), std::slice::from_ref(&plugin))?;
    let address = running.gateway.traffic;
    let request = request(address);
    let quiet = paced::run(address, PACE, setting.duration, &request)?;

    let stop = AtomicBool::new(false);
    let (swapping, past, live) = std::thread::scope(|scope| -> Result<(Paced, Paced, Latencies)> {
        let calling = scope.spawn(|| paced::run_until(address, PACE, &request, &stop));
        let past = scope.spawn(|| paced::run_until(setting.upstream.address(), PAST, &request, &stop));
        let live: Result<Latencies> = (1..=SWAPS).try_fold(Latencies::default(), |mut live, number| {
            live.record(swap(&running, &plugin.name, &plugin.component, number)?);
            Ok(live)
        });
        stop.store(true, Ordering::Relaxed);
        let joined = |paced: std::thread::ScopedJoinHandle<'_, Result<Paced>>| paced.join().expect("the load generator does not panic");
        Ok((joined(calling)?, joined(past)?, live?))
    })?;

    let size = plugin.component.len() / 1024;
    let mut section = Section::new(format!("{SWAPS} swaps of {} ({size} KiB) at {:.0} calls a second", plugin.name, PACE.rate));
    for (name, paced) in [("no swaps", &quiet), ("swaps", &swapping), ("swaps, past the gateway", &past)] {
        let mut figures = vec![
            Figure::milliseconds("p50_ms", paced.latencies.p50()),
            Figure::milliseconds("p99_ms", paced.latencies.p99()),
            Figure::number("calls", paced.latencies.count() as f64, 0),
            Figure::number("failed", paced.failures.len() as f64, 0),
        ];
        if name == "swaps" {
            figures.push(Figure::milliseconds("live_p50_ms", live.p50()));
            figures.push(Figure::milliseconds("live_max_ms", live.quantile(1.0)));
        }
        section.row(name, figures);
    }
    if let Some(failure) = swapping.failures.first() {
        eprintln!("the first failed call: {failure}");
    }
    Ok(section)
}

/// Overwrites the component in place and gives the time from the file's closing to the next generation being live.
fn swap(running: &Running, name: &str, component: &[u8], number: u32) -> Result<Duration> {
    let before = generation(running, name).context("the plugin is not live")?;
    // Of this run alone, so that no run finds what an earlier one had compiled.
    let mark = format!("{}-{number}", std::process::id());
    fs::write(running.component(name), rebuilt(component, &mark))?;
    let closed = Instant::now();
    let live = wait_for(DEADLINE, || generation(running, name).filter(|found| *found > before).map(|_| closed.elapsed()));
    live.with_context(|| format!("swap {number} does not go live: {}", running.gateway.admin_get("/api/plugins").text()))
}

fn generation(running: &Running, name: &str) -> Option<u64> {
    let status = running.gateway.admin_get("/api/plugins").json().ok()?;
    let plugins = status["plugins"].as_array()?;
    plugins.iter().find(|plugin| plugin["name"] == name)?["generation"].as_u64()
}
