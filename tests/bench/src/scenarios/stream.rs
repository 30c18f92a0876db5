//! How long an event of a stream is on its way, from being written by the upstream to being read by the client.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Setting;
use crate::gateways::Running;
use crate::latency::Latencies;
use crate::paced::connect;
use crate::report::{Figure, Section};
use crate::upstream::{EVENTS, MARK, STREAM, now};
use crate::wire::{QUERY, tool_call};

/// Measures one stream each.
pub fn measure(setting: &Setting) -> Result<Section> {
    let plain = Running::before(&setting.upstream.url(""), &[])?;
    let redacting = Running::before(&setting.upstream.url(""), &[setting.redact_secrets()?])?;
    let direct = stream_from(setting.upstream.address())?;
    let mut section = Section::new(format!("Events of a stream of {EVENTS}, written to read"));
    for (name, latencies) in [
        ("direct", direct.clone()),
        ("gateway, no plugin", stream_from(plain.gateway.traffic)?),
        ("gateway, 1 plugin", stream_from(redacting.gateway.traffic)?),
    ] {
        section.row(
            name,
            vec![
                Figure::milliseconds("p50_ms", latencies.p50()),
                Figure::milliseconds("p99_ms", latencies.p99()),
                Figure::added_milliseconds("added_p50_ms", latencies.p50(), direct.p50()),
            ],
        );
    }
    Ok(section)
}

fn stream_from(address: SocketAddr) -> Result<Latencies> {
    let mut stream = connect(address)?;
    stream.write_all(&tool_call(&address.to_string(), STREAM, QUERY))?;
    let mut latencies = Latencies::default();
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    // Chunks' sizes stand on lines of their own between those of the events.
    while !line.contains("\"result\"") {
        line.clear();
        ensure!(lines.read_line(&mut line)? > 0, "the stream was cut after {} events", latencies.count());
        let read = now();
        if let Some((_, rest)) = line.split_once(MARK) {
            latencies.record(read.saturating_sub(sent_at(rest)?));
        }
    }
    ensure!(latencies.count() == EVENTS, "{} of {EVENTS} events arrived", latencies.count());
    Ok(latencies)
}

fn sent_at(text: &str) -> Result<Duration> {
    let digits = text.split('"').next().unwrap_or_default();
    Ok(Duration::from_nanos(u64::from_str_radix(digits, 16).with_context(|| format!("time {digits:?}"))?))
}
