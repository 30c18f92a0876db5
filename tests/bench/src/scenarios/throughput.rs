//! Requests a second, latency, and what a request costs the proxy, at full load.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use super::{Setting, request};
use crate::closed_loop::{Throughput, run};
use crate::cpu;
use crate::gateways::Running;
use crate::nginx::{AccessLog, Nginx};
use crate::report::{Figure, Section};

const CONNECTIONS: usize = 16;
/// Every row is measured this often, in turn, so that a disturbance of the machine does not fall on one row alone.
const ROUNDS: u32 = 3;
/// Until connections are open, caches warm and plugin instances started.
const WARM_UP: Duration = Duration::from_millis(500);

/// The figures of one row so far.
pub(super) struct Row {
    pub(super) name: &'static str,
    start: Start,
    pub(super) throughput: Throughput,
    cpu: Duration,
}

/// Something that answers.
pub(super) struct Target {
    address: SocketAddr,
    /// What stands between client and upstream; none when nothing does.
    processes: Vec<u32>,
    /// Ends what runs when it goes out of scope.
    _running: Option<Box<dyn std::any::Any>>,
}

/// Starts what a row measures.
pub(super) type Start = fn(&Setting) -> Result<Target>;

const ROWS: [(&str, Start); 6] = [
    ("direct", direct),
    ("nginx", |setting| nginx(setting, AccessLog::Off)),
    ("nginx, access log", |setting| nginx(setting, AccessLog::File)),
    ("gateway, no plugin", |setting| gateway(Running::before(&setting.upstream.url(""), &[])?)),
    ("gateway, 1 plugin", |setting| gateway(Running::before(&setting.upstream.url(""), &[setting.redact_secrets()?])?)),
    ("gateway, 3 plugins", |setting| gateway(Running::before(&setting.upstream.url(""), &setting.three_plugins()?)?)),
];

/// Measures rows in turn.
pub(super) fn measured(setting: &Setting, rows: &[(&'static str, Start)]) -> Result<Vec<Row>> {
    let begin = |(name, start): &(&'static str, Start)| Row { name, start: *start, throughput: Throughput::default(), cpu: Duration::ZERO };
    let mut rows: Vec<Row> = rows.iter().map(begin).collect();
    for _ in 0..ROUNDS {
        for row in &mut rows {
            row.measure(setting)?;
        }
    }
    Ok(rows)
}

/// Measures every row.
pub fn measure(setting: &Setting) -> Result<Section> {
    let rows = measured(setting, &ROWS)?;
    let nginx = rows[1].cpu_each();
    let mut section = Section::new(format!("tools/call, about 300 bytes each way, {CONNECTIONS} connections"));
    for row in &rows {
        let mut figures = vec![
            Figure::number("requests_per_s", row.throughput.rate(), 0),
            Figure::milliseconds("p50_ms", row.throughput.latencies.p50()),
            Figure::milliseconds("p99_ms", row.throughput.latencies.p99()),
        ];
        if row.name != "direct" {
            figures.push(Figure::number("cpu_us_per_request", row.cpu_each() * 1e6, 1));
            figures.push(Figure::number("cpu_to_nginx", row.cpu_each() / nginx, 2));
        }
        section.row(row.name, figures);
    }
    Ok(section)
}

impl Row {
    fn measure(&mut self, setting: &Setting) -> Result<()> {
        let target = (self.start)(setting)?;
        let request = request(target.address);
        run(target.address, CONNECTIONS, WARM_UP, &request)?;
        let before = cpu::time_of(&target.processes)?;
        let throughput = run(target.address, CONNECTIONS, setting.duration / ROUNDS, &request)?;
        self.cpu += cpu::time_of(&target.processes)?.saturating_sub(before);
        self.throughput.merge(&throughput);
        Ok(())
    }

    /// Seconds of CPU for each request.
    pub(super) fn cpu_each(&self) -> f64 {
        self.cpu.as_secs_f64() / self.throughput.latencies.count() as f64
    }
}

fn direct(setting: &Setting) -> Result<Target> {
    Ok(Target { address: setting.upstream.address(), processes: Vec::new(), _running: None })
}

fn nginx(setting: &Setting, log: AccessLog) -> Result<Target> {
    let nginx = Nginx::start(&setting.nginx, setting.upstream.address(), log)?;
    Ok(Target { address: nginx.address, processes: nginx.processes(), _running: Some(Box::new(nginx)) })
}

/// A gateway.
pub(super) fn gateway(running: Running) -> Result<Target> {
    let (address, id) = (running.gateway.traffic, running.gateway.id());
    Ok(Target { address, processes: vec![id], _running: Some(Box::new(running)) })
}
