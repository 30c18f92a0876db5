//! Calls of one server while 32 calls of another are stuck in a plugin that loops.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use watchgate_tests::GatewayOptions;
use watchgate_tests::wait::{DEADLINE, wait_for};

use super::Setting;
use crate::cpu;
use crate::gateways::{Plugin, Running};
use crate::latency::{Latencies, median_quantile};
use crate::paced::{self, Pace, Paced, connect};
use crate::report::{Figure, Section};
use crate::wire::{QUERY, tool_call};

const LOOPING: usize = 32;
/// What the looping plugin waits for in a message.
const MARK: &str = "bench-loop-mark";
/// The largest CPU budget there is, so that the loops go on while the neighbours are measured and no quarantine ends them.
const SETTINGS: &str = "[config]\nredact = \"loop\"\nwhen = \"bench-loop-mark\"\ntriggers = [\"bench-loop-mark\"]\n\n\
    [limits]\ncpu = \"10s\"\nwall = \"300s\"\nmax_instances = 32\n";
/// Well under what the gateway bears: neighbours that are measured, not a load.
const PACE: Pace = Pace { connections: 4, rate: 1000.0 };

/// Calls past the gateway meanwhile: what they lose is lost to the loops taking a core, not to the gateway.
const PAST: Pace = Pace { connections: 1, rate: 200.0 };
/// The figures are those of the middle round.
const ROUNDS: u32 = 5;

/// Measures the neighbours alone and beside the loops.
pub fn measure(setting: &Setting) -> Result<Section> {
    let config = format!("[servers.good]\nurl = \"{0}\"\n\n[servers.bad]\nurl = \"{0}\"\n", setting.upstream.url(""));
    let probe = Plugin::read("probe", &setting.guests, "guest_probe.wasm")?.with_settings(SETTINGS);
    let running = Running::start(&[], &GatewayOptions::config(&config), &[probe])?;
    let address = running.gateway.traffic;
    let neighbour = tool_call(&address.to_string(), "/good/mcp", QUERY);

    let calls =
        || -> Result<Vec<Paced>> { (0..ROUNDS).map(|_| paced::run(address, PACE, setting.duration / ROUNDS, &neighbour)).collect() };
    let alone = calls()?;
    let mut stuck = Vec::new();
    for _ in 0..LOOPING {
        let mut stream = connect(address)?;
        stream.write_all(&tool_call(&address.to_string(), "/bad/mcp", MARK))?;
        stuck.push(stream);
    }
    // The loops have begun when the gateway is busy without any other call.
    wait_for(DEADLINE, || is_busy(running.gateway.id()).then_some(())).context("the plugin does not loop")?;
    let before = cpu::time_of(&[running.gateway.id()])?;
    let stop = AtomicBool::new(false);
    let (beside, past) = std::thread::scope(|scope| -> Result<(Vec<Paced>, Paced)> {
        let past = scope.spawn(|| paced::run_until(setting.upstream.address(), PAST, &neighbour, &stop));
        let beside = calls();
        stop.store(true, Ordering::Relaxed);
        Ok((beside?, past.join().expect("the load generator does not panic")?))
    })?;
    let spent = cpu::time_of(&[running.gateway.id()])?.saturating_sub(before);
    let still_stuck = stuck.iter().filter(|stream| is_silent(stream)).count();
    ensure!(still_stuck > 0, "no call was stuck any more when the measurement ended");

    let mut section = Section::new(format!("{:.0} calls a second beside {LOOPING} calls that loop in a plugin", PACE.rate));
    for (name, rounds) in [("alone", &alone), ("beside loops", &beside), ("beside loops, past the gateway", &vec![past])] {
        let latencies: Vec<Latencies> = rounds.iter().map(|round| round.latencies.clone()).collect();
        let failed: usize = rounds.iter().map(|round| round.failures.len()).sum();
        let mut figures = vec![
            Figure::milliseconds("p50_ms", median_quantile(&latencies, 0.5)),
            Figure::milliseconds("p99_ms", median_quantile(&latencies, 0.99)),
            Figure::number("failed", failed as f64, 0),
        ];
        if name == "beside loops" {
            figures.push(Figure::number("cores_busy", spent.as_secs_f64() / setting.duration.as_secs_f64(), 2));
            figures.push(Figure::number("still_looping", still_stuck as f64, 0));
        }
        section.row(name, figures);
    }
    Ok(section)
}

/// Whether the process takes at least half of a core for a tenth of a second.
fn is_busy(process: u32) -> bool {
    let spent = || cpu::time_of(&[process]).unwrap_or_default();
    let before = spent();
    std::thread::sleep(Duration::from_millis(100));
    spent().saturating_sub(before) >= Duration::from_millis(50)
}

/// Whether nothing has come yet.
fn is_silent(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).is_ok() && matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}
