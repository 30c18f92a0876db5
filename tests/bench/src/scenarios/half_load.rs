//! What the gateway adds to latency at half the load it could bear.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Setting, request};
use crate::closed_loop;
use crate::gateways::Running;
use crate::latency::Latencies;
use crate::nginx::{AccessLog, Nginx};
use crate::paced::{self, Pace};
use crate::report::{Figure, Section};

const CONNECTIONS: u32 = 8;
/// How long the whole load is measured, to halve it.
const TRIAL: Duration = Duration::from_secs(2);

/// Measures each at the same rate.
pub fn measure(setting: &Setting) -> Result<Section> {
    let plain = Running::before(&setting.upstream.url(""), &[])?;
    let redacting = Running::before(&setting.upstream.url(""), &[setting.redact_secrets()?])?;
    let nginx = Nginx::start(&setting.nginx, setting.upstream.address(), AccessLog::Off)?;

    let address = redacting.gateway.traffic;
    let whole = closed_loop::run(address, CONNECTIONS as usize * 2, TRIAL, &request(address))?.rate();
    let pace = Pace { connections: CONNECTIONS, rate: whole / 2.0 };
    let mut section =
        Section::new(format!("Latency at {:.0} requests a second, half of what the gateway with one plugin bears", pace.rate));
    let direct = at(setting.upstream.address(), pace, setting.duration)?;
    for (name, address) in [
        ("direct", setting.upstream.address()),
        ("nginx", nginx.address),
        ("gateway, no plugin", plain.gateway.traffic),
        ("gateway, 1 plugin", redacting.gateway.traffic),
    ] {
        let latencies = at(address, pace, setting.duration)?;
        section.row(
            name,
            vec![
                Figure::milliseconds("p50_ms", latencies.p50()),
                Figure::milliseconds("p99_ms", latencies.p99()),
                Figure::milliseconds("added_p50_ms", latencies.p50().saturating_sub(direct.p50())),
                Figure::milliseconds("added_p99_ms", latencies.p99().saturating_sub(direct.p99())),
            ],
        );
    }
    Ok(section)
}

fn at(address: SocketAddr, pace: Pace, duration: Duration) -> Result<Latencies> {
    let paced = paced::run(address, pace, duration, &request(address))?;
    ensure!(paced.failures.is_empty(), "{} requests failed; the first: {}", paced.failures.len(), paced.failures[0]);
    Ok(paced.latencies)
}
