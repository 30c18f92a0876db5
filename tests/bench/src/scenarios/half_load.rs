//! What the gateway adds to latency at half the load it could bear.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Setting, request};
use crate::closed_loop;
use crate::gateways::Running;
use crate::latency::{Latencies, median_quantile};
use crate::nginx::{AccessLog, Nginx};
use crate::paced::{self, Pace};
use crate::report::{Figure, Section};

const CONNECTIONS: u32 = 8;
/// How long the whole load is measured, to halve it.
const TRIAL: Duration = Duration::from_secs(2);

/// Every row is measured this often, in turn; its figures are those of the middle round.
const ROUNDS: u32 = 5;

/// Measures each at the same rate.
pub fn measure(setting: &Setting) -> Result<Section> {
    let plain = Running::before(&setting.upstream.url(""), &[])?;
    let redacting = Running::before(&setting.upstream.url(""), &[setting.redact_secrets()?])?;
    let nginx = Nginx::start(&setting.nginx, setting.upstream.address(), AccessLog::Off)?;

    let address = redacting.gateway.traffic;
    let whole = closed_loop::run(address, CONNECTIONS as usize * 2, TRIAL, &request(address))?.rate();
    let pace = Pace { connections: CONNECTIONS, rate: whole / 2.0 };
    let mut rows = [
        ("direct", setting.upstream.address(), Vec::new()),
        ("nginx", nginx.address, Vec::new()),
        ("gateway, no plugin", plain.gateway.traffic, Vec::new()),
        ("gateway, 1 plugin", address, Vec::new()),
    ];
    for _ in 0..ROUNDS {
        for (_, address, rounds) in &mut rows {
            rounds.push(at(*address, pace, setting.duration / ROUNDS)?);
        }
    }
    let direct = rows[0].2.clone();
    let mut section =
        Section::new(format!("Latency at {:.0} requests a second, half of what the gateway with one plugin bears", pace.rate));
    for (name, _, rounds) in &rows {
        let mut figures = vec![
            Figure::milliseconds("p50_ms", median_quantile(rounds, 0.5)),
            Figure::milliseconds("p99_ms", median_quantile(rounds, 0.99)),
        ];
        if *name != "direct" {
            figures.push(Figure::added_milliseconds("added_p50_ms", median_quantile(rounds, 0.5), median_quantile(&direct, 0.5)));
            figures.push(Figure::added_milliseconds("added_p99_ms", median_quantile(rounds, 0.99), median_quantile(&direct, 0.99)));
        }
        section.row(name, figures);
    }
    Ok(section)
}

fn at(address: SocketAddr, pace: Pace, duration: Duration) -> Result<Latencies> {
    let paced = paced::run(address, pace, duration, &request(address))?;
    ensure!(paced.failures.is_empty(), "{} requests failed; the first: {}", paced.failures.len(), paced.failures[0]);
    Ok(paced.latencies)
}
