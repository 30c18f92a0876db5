//! What ten plugins cost while nothing happens: memory, and time to start with and without compiled code at hand.

use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;
use watchgate_tests::{GatewayOptions, vitals};

use super::Setting;
use crate::closed_loop;
use crate::cpu;
use crate::gateways::{Plugin, Running};
use crate::report::{Figure, Section};
use crate::wire::{QUERY, tool_call};

/// Starts with compiled code at hand.
const STARTS: u32 = 5;
/// Until what starting has left behind is given back.
const SETTLE: Duration = Duration::from_secs(3);

/// Measures a start that compiles, then starts that need not.
pub fn measure(setting: &Setting) -> Result<Section> {
    let plugins = ten_plugins(setting)?;
    let cache = TempDir::new()?;
    let config =
        format!("[plugins]\ncache = \"{}\"\n\n[servers.default]\nurl = \"{}\"\n", cache.path().display(), setting.upstream.url(""));
    let options = GatewayOptions::config(&config);
    let start = || Running::start(&[], &options, &plugins);
    let compiling = start()?.started_in;
    let mut cached = Vec::new();
    for _ in 0..STARTS {
        cached.push(start()?.started_in);
    }
    cached.sort_unstable();
    let running = start()?;
    std::thread::sleep(SETTLE);
    let idle = vitals::resident(running.gateway.id())?;
    let before = cpu::time_of(&[running.gateway.id()])?;
    std::thread::sleep(setting.duration);
    let spent = cpu::time_of(&[running.gateway.id()])?.saturating_sub(before);
    let address = running.gateway.traffic;
    let default = tool_call(&address.to_string(), "/default/", QUERY);
    closed_loop::run(address, 16, setting.duration, &default)?;
    let used = vitals::resident(running.gateway.id())?;

    let mebibytes = |bytes: u64| bytes as f64 / 1_048_576.0;
    let mut section = Section::new(format!("A gateway with {} plugins", plugins.len()));
    section.row("cold start, nothing compiled", vec![Figure::milliseconds("ms", compiling)]);
    section.row("cold start, all compiled (median)", vec![Figure::milliseconds("ms", cached[cached.len() / 2])]);
    section.row(
        "idle",
        vec![
            Figure::number("resident_mib", mebibytes(idle), 1),
            Figure::number("cpu_percent", spent.as_secs_f64() / setting.duration.as_secs_f64() * 100.0, 2),
        ],
    );
    section.row("after a load over 16 connections", vec![Figure::number("resident_mib", mebibytes(used), 1)]);
    Ok(section)
}

fn ten_plugins(setting: &Setting) -> Result<Vec<Plugin>> {
    let redact = setting.redact_secrets()?;
    let sizes = Plugin::read("tool-sizes", &setting.plugins, "tool-sizes.wasm")?;
    let redactor = Plugin::read("redactor", &setting.guests, "guest_redactor.wasm")?;
    let probe = Plugin::read("probe", &setting.guests, "guest_probe.wasm")?;
    let variants = [(&redact, 2), (&sizes, 3), (&redactor, 2), (&probe, 3)];
    let names = variants.into_iter().flat_map(|(plugin, count)| (0..count).map(move |number| (plugin, number)));
    Ok(names.map(|(plugin, number)| plugin.variant(&format!("{}-{number}", plugin.name))).collect())
}
