//! What the gateway holds under two hundred clients, half of them on streams, for ten minutes: nothing may grow.

use std::time::Duration;

use anyhow::{Result, ensure};
use watchgate_tests::soak::{Plan, Sample, server, walk};
use watchgate_tests::{GatewayOptions, vitals, wait_until};

use super::Setting;
use crate::cpu;
use crate::gateways::Running;
use crate::report::{Figure, Section};

/// Clients at once.
const CLIENTS: usize = 200;
/// At most: until caches, pools and buffers have their size.
const WARM_UP: Duration = Duration::from_secs(60);

/// Walks with the stock redaction plugin loaded, so that what it sees and what passes it are both there.
pub fn measure(setting: &Setting) -> Result<Section> {
    let server = server();
    let config = "[proxy]\npool_idle_timeout = \"5s\"\n";
    let running = Running::start(&["--upstream", &server.url()], &GatewayOptions::config(config), &[setting.redact_secrets()?])?;
    let gateway = &running.gateway;
    let at_first = sample(gateway.id())?;
    let before = cpu::time_of(&[gateway.id()])?;
    let warm_up = WARM_UP.min(setting.soak / 5);
    let report = walk(gateway, &Plan { clients: CLIENTS, warm_up, duration: setting.soak - warm_up });
    let spent = cpu::time_of(&[gateway.id()])?.saturating_sub(before);
    let (failed, texts) = report.tally.failures();
    ensure!(failed == 0, "{failed} exchanges went wrong: {texts:#?}");
    wait_until("connections and exchanges are gone", || {
        let metrics = gateway.metrics();
        let held = metrics.metric("watchgate_connections_open", &[]) + metrics.metric("watchgate_http_requests_in_flight", &[]);
        (held == 0.0 && server.open() == 0).then_some(())
    });
    let (first, last) = report.first_and_last();
    let mut section = Section::new(format!("{CLIENTS} clients for {} s, half of them on streams, 1 plugin", setting.soak.as_secs()));
    section.row("before", figures(at_first));
    section.row("after the warm-up (median of a fifth)", figures(first));
    section.row("at the end (median of a fifth)", figures(last));
    section.row("when all have gone", figures(sample(gateway.id())?));
    section.row(
        "meanwhile",
        vec![
            Figure::number("calls", report.tally.calls() as f64, 0),
            Figure::number("streams", report.tally.streams() as f64, 0),
            Figure::number("events", report.tally.events() as f64, 0),
            Figure::number("cpu_percent", spent.as_secs_f64() / setting.soak.as_secs_f64() * 100.0, 1),
        ],
    );
    Ok(section)
}

fn sample(gateway: u32) -> Result<Sample> {
    Ok(Sample { resident: vitals::resident(gateway)?, descriptors: vitals::descriptors(gateway)?.len() })
}

fn figures(sample: Sample) -> Vec<Figure> {
    let mebibytes = sample.resident as f64 / 1_048_576.0;
    vec![Figure::number("resident_mib", mebibytes, 1), Figure::number("descriptors", sample.descriptors as f64, 0)]
}
