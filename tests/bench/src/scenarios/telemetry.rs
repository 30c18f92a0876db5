//! What a request costs with less or more of the telemetry on.

use anyhow::Result;
use watchgate_tests::GatewayOptions;

use super::Setting;
use super::throughput::{Start, gateway, measured};
use crate::gateways::Running;
use crate::report::{Figure, Section};

/// In every row metrics are counted, and the JSON access log is written to a file.
const ROWS: [(&str, Start); 5] = [
    ("no traces", |setting| with(setting, "[traces]\nrecent_count = 0\n", "0")),
    ("10 % of traces kept", |setting| with(setting, "", "0.1")),
    ("10 % of traces to OTLP", |setting| with(setting, &traces(setting), "0.1")),
    ("all signals to OTLP, 10 % of traces", |setting| with(setting, &all(setting), "0.1")),
    ("all signals to OTLP, all traces", |setting| with(setting, &all(setting), "1")),
];

/// Measures every row against the first.
pub fn measure(setting: &Setting) -> Result<Section> {
    let rows = measured(setting, &ROWS)?;
    let least = rows[0].cpu_each();
    let mut section = Section::new("What telemetry costs: tools/call without a plugin, metrics and a JSON access log in every row");
    for row in &rows {
        let figures = vec![
            Figure::number("requests_per_s", row.throughput.rate(), 0),
            Figure::number("cpu_us_per_request", row.cpu_each() * 1e6, 1),
            Figure::number("added_us", (row.cpu_each() - least) * 1e6, 1),
        ];
        section.row(row.name, figures);
    }
    Ok(section)
}

fn with(setting: &Setting, config: &str, ratio: &str) -> Result<super::throughput::Target> {
    let config = format!("{config}[servers.upstream]\nurl = \"{}\"\nmount = \"root\"\n", setting.upstream.url(""));
    let sampler = [("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", ratio)];
    let environment = sampler.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    gateway(Running::start(&[], &GatewayOptions { environment, ..GatewayOptions::config(&config) }, &[])?)
}

fn traces(setting: &Setting) -> String {
    format!("[traces]\nexporter = \"otlp-http\"\nendpoint = \"{}\"\n", setting.upstream.url(""))
}

fn all(setting: &Setting) -> String {
    let url = setting.upstream.url("");
    let push = |signal: &str| format!("[{signal}.otlp]\nprotocol = \"http\"\nendpoint = \"{url}\"\n");
    format!("{}{}{}", traces(setting), push("metrics"), push("logs"))
}
