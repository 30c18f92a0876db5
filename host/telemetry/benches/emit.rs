//! What the facts of one exchange cost, in nanoseconds: `cargo bench -p watchgate-telemetry`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use watchgate_telemetry::{
    AccessLine, AccessLogTarget, ExchangeFinished, HttpMethod, NameKind, OperationFinished, ServerMetrics, SpanId, Telemetry,
    TelemetryConfig, TraceId,
};

const TOOLS: [&str; 8] = ["echo", "add", "get-weather", "search", "read_file", "write_file", "list", "delete"];

fn emit_exchange(telemetry: &Telemetry, server: &ServerMetrics) {
    telemetry.emit(ExchangeFinished {
        server,
        http_method: HttpMethod::Post,
        status: 200,
        outcome: black_box("ok"),
        started: SystemTime::UNIX_EPOCH,
        duration: Duration::from_micros(900),
        upstream: Duration::from_micros(800),
        plugins: Duration::ZERO,
        request_bytes: 300,
        response_bytes: 300,
        line: AccessLine {
            mcp_method: Some("tools/call"),
            name_kind: Some(NameKind::Tool),
            trace_id: TraceId::new([1; 16]),
            span_id: SpanId::new([2; 8]),
            ..AccessLine::default()
        },
    });
}

fn emit_operation(telemetry: &Telemetry, server: &ServerMetrics, tool: &str) {
    telemetry.emit(OperationFinished {
        server,
        from_client: true,
        method: Some(black_box("tools/call")),
        name: Some(tool),
        name_kind: Some(NameKind::Tool),
        outcome: black_box("ok"),
        error_type: None,
        protocol_version: Some(black_box("2026-07-28")),
        duration: Duration::from_micros(900),
        upstream: Duration::from_micros(800),
        overhead: Some(Duration::from_micros(50)),
        request_bytes: 300,
        response_bytes: 300,
    });
}

/// Runs `work` on so many threads at once and prints the time each call took.
fn measure(name: &str, threads: u32, work: impl Fn(usize) + Send + Sync + 'static) {
    const ROUNDS: u32 = 500_000;
    let work = Arc::new(work);
    (0..10_000).for_each(|index| work(index));
    let start = Instant::now();
    let running: Vec<_> = (0..threads)
        .map(|_| {
            let work = work.clone();
            thread::spawn(move || (0..ROUNDS as usize).for_each(|index| work(index)))
        })
        .collect();
    running.into_iter().for_each(|thread| thread.join().unwrap());
    println!("{name:<48} {threads} thread(s) {:>7} ns", (start.elapsed() / ROUNDS).as_nanos());
}

/// What the writer's thread pays for a line: formatting and its share of a write, with nobody else at work.
fn measure_lines(telemetry: &Telemetry, server: &ServerMetrics) {
    const ROUNDS: u32 = 200;
    const LINES: u32 = 8000;
    let mut writing = Duration::ZERO;
    for _ in 0..ROUNDS {
        (0..LINES).for_each(|_| emit_exchange(telemetry, server));
        let start = Instant::now();
        telemetry.flush(Duration::from_secs(10));
        writing += start.elapsed();
    }
    println!("{:<48} {} thread(s) {:>7} ns", "an access line, written", 1, (writing / (ROUNDS * LINES)).as_nanos());
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    for (what, access_log) in
        [("no access log", AccessLogTarget::Off), ("access log", AccessLogTarget::File(folder.path().join("access.log")))]
    {
        let telemetry = Telemetry::new(TelemetryConfig { access_log, servers: vec!["s".into()], ..TelemetryConfig::default() }).unwrap();
        let server = telemetry.server("s");
        TOOLS.iter().for_each(|tool| server.learn(NameKind::Tool, tool));
        if what == "access log" {
            measure_lines(&telemetry, &server);
        }
        for threads in [1, 2] {
            let (t, s) = (telemetry.clone(), server.clone());
            measure(&format!("ExchangeFinished, {what}"), threads, move |_| emit_exchange(&t, &s));
            let (t, s) = (telemetry.clone(), server.clone());
            measure(&format!("OperationFinished, {what}"), threads, move |index| emit_operation(&t, &s, TOOLS[index % TOOLS.len()]));
            let (t, s) = (telemetry.clone(), server.clone());
            measure(&format!("all of one exchange, {what}"), threads, move |index| {
                let _in_flight = s.in_flight(HttpMethod::Post);
                emit_operation(&t, &s, TOOLS[index % TOOLS.len()]);
                emit_exchange(&t, &s);
            });
        }
    }
}
