//! The gateway in a few figures, as JSON: for people and scripts that have no Prometheus.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::families::MetricName;
use crate::snapshot::{MetricSnapshot, Series};
use crate::telemetry::Telemetry;

/// What `GET /metrics/custom` answers with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overview {
    /// The gateway's version.
    pub version: &'static str,
    /// Since it started.
    pub uptime_seconds: f64,
    /// Sessions of protocol revisions before 2026-07-28.
    pub sessions: f64,
    /// What the process uses.
    pub memory: Memory,
    /// What the process uses.
    pub cpu: Cpu,
    /// Client connections open now.
    pub connections_open: f64,
    /// HTTP exchanges that ended.
    pub requests_total: f64,
    /// HTTP exchanges going on now.
    pub requests_in_flight: f64,
    /// Tasks of the runtime.
    pub runtime_tasks: f64,
    /// By configured name.
    pub servers: BTreeMap<String, ServerOverview>,
    /// The metrics that plugins declared, by name; of histograms the count and the sum.
    pub custom: BTreeMap<String, Vec<CustomSeries>>,
}

/// Memory of the process, bytes; 0 where the system does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Memory {
    /// In the machine's memory now.
    pub resident_bytes: f64,
    /// Addresses in use.
    pub virtual_bytes: f64,
}

/// CPU time of the process; 0 where the system does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cpu {
    /// User and system time since the start.
    pub seconds_total: f64,
    /// That as a share of the time since the start: 100 is one core.
    pub average_percent: f64,
}

/// One MCP server.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ServerOverview {
    /// Whether its last probe succeeded; `null` before the first.
    pub up: Option<bool>,
    /// HTTP exchanges that ended.
    pub requests_total: f64,
    /// Those that did not end `ok`.
    pub failed_total: f64,
    /// HTTP exchanges going on now.
    pub in_flight: f64,
    /// Its sessions.
    pub sessions: f64,
}

/// One series of a plugin's metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CustomSeries {
    /// With the plugin's name as `plugin`.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Telemetry {
    /// The gateway in a few figures.
    pub fn overview(&self) -> Overview {
        let snapshot = self.snapshot();
        let total = |metric: MetricName| sum(snapshot.of(metric.as_str()));
        let uptime_seconds = total(MetricName::Uptime);
        let seconds_total = total(MetricName::ProcessCpu);
        Overview {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds,
            sessions: total(MetricName::SessionsActive),
            memory: Memory { resident_bytes: total(MetricName::ProcessResident), virtual_bytes: total(MetricName::ProcessVirtual) },
            cpu: Cpu { seconds_total, average_percent: if uptime_seconds > 0.0 { seconds_total / uptime_seconds * 100.0 } else { 0.0 } },
            connections_open: total(MetricName::ConnectionsOpen),
            requests_total: total(MetricName::HttpRequests),
            requests_in_flight: total(MetricName::HttpRequestsInFlight),
            runtime_tasks: total(MetricName::RuntimeTasks),
            servers: servers(&snapshot),
            custom: custom(&snapshot),
        }
    }
}

fn sum<'a>(series: impl Iterator<Item = &'a Series>) -> f64 {
    // Not `sum()`: of nothing that is -0, which JSON would show.
    series.fold(0.0, |sum, series| sum + series.value)
}

fn servers(snapshot: &MetricSnapshot) -> BTreeMap<String, ServerOverview> {
    let names = snapshot.of(MetricName::SessionsActive.as_str()).map(|series| series.label("server").to_owned());
    let overview = |server: String| {
        let of = |metric: MetricName| snapshot.of(metric.as_str()).filter(|series| series.label("server") == server);
        let row = ServerOverview {
            up: of(MetricName::ServerUp).next().map(|series| series.value > 0.0),
            requests_total: sum(of(MetricName::HttpRequests)),
            failed_total: sum(of(MetricName::HttpRequests).filter(|series| series.label("outcome") != "ok")),
            in_flight: sum(of(MetricName::HttpRequestsInFlight)),
            sessions: sum(of(MetricName::SessionsActive)),
        };
        (server, row)
    };
    names.map(overview).collect()
}

fn custom(snapshot: &MetricSnapshot) -> BTreeMap<String, Vec<CustomSeries>> {
    let mut custom: BTreeMap<String, Vec<CustomSeries>> = BTreeMap::new();
    for series in snapshot.series.iter().filter(|series| !series.is_own()) {
        let labels = series.labels.iter().cloned().collect();
        custom.entry(series.name.clone()).or_default().push(CustomSeries { labels, value: series.value });
    }
    custom
}

impl Series {
    /// Whether it is of the gateway itself; a plugin's metric cannot have such a name.
    fn is_own(&self) -> bool {
        let name = &*self.name;
        let of_histogram = |row: &str| name.strip_prefix(row).is_some_and(|rest| matches!(rest, "_count" | "_sum"));
        MetricName::all().any(|row| row.name == name || of_histogram(row.name))
    }
}
