//! What tracing costs: for each exchange, for each that is kept, and on the thread that exports. `cargo bench -p watchgate-telemetry`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use watchgate_telemetry::{
    Attribute, Exporter, OperationTarget, PushConfig, SpanId, SpanKind, SpanRecord, Telemetry, TelemetryConfig, TraceContext,
    TraceFinished, TraceId, TraceRecord, TracesConfig,
};

/// Prints the time that each of so many calls took.
fn measure(name: &str, rounds: u32, mut work: impl FnMut()) {
    (0..rounds / 10).for_each(|_| work());
    let start = Instant::now();
    (0..rounds).for_each(|_| work());
    println!("{name:<44} {:>8.1} ns", start.elapsed().as_secs_f64() * 1e9 / f64::from(rounds));
}

/// A tool call with an attempt and a redaction below it, as an operator sees most of them.
fn record() -> TraceRecord {
    let (started, took) = (SystemTime::now(), Duration::from_micros(900));
    let root_id = SpanId::random();
    let tool = OperationTarget::Tool("get-weather");
    let mut root = SpanRecord::operation(root_id, SpanKind::Server, Some("tools/call"), tool, started, took);
    root.set(Attribute::Server, "weather");
    root.set(Attribute::Outcome, "ok");
    root.set(Attribute::JsonrpcRequestId, "17".to_owned());
    root.set(Attribute::McpProtocolVersion, "2026-07-28");
    root.set(Attribute::ClientAddress, "192.0.2.7".to_owned());
    root.set(Attribute::HttpResponseStatusCode, 200_u16);
    let mut attempt = SpanRecord::operation(SpanId::random(), SpanKind::Client, Some("tools/call"), tool, started, took);
    attempt.set(Attribute::ServerAddress, "127.0.0.1".to_owned());
    attempt.set(Attribute::ServerPort, 3001_u16);
    attempt.set(Attribute::ConnectionReused, true);
    let redact = SpanRecord::redact(SpanId::random(), "secrets", "unchanged", "client-to-server", started, took);
    TraceRecord {
        trace_id: TraceId::random(),
        spans: vec![root, attempt.within(root_id), redact.within(root_id)],
        server: "weather".into(),
        outcome: "ok",
        name: Some("get-weather".into()),
        mcp_method: Some("tools/call"),
        started,
        duration: took,
        request_id: Some("7f3c".into()),
        error_id: None,
        tracestate: None,
        is_slow: false,
        is_error: false,
        is_forced: false,
        head_sampled: true,
    }
}

/// Answers every request with an empty 200 as soon as its body is there.
fn collector() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut buffer, mut gathered) = (vec![0; 1 << 20], Vec::new());
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            gathered.extend_from_slice(&buffer[..count]);
            let Some(head) = gathered.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
            let text = String::from_utf8_lossy(&gathered[..head]).to_lowercase();
            let length: usize = text.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
            if gathered.len() >= head + 4 + length {
                gathered.drain(..head + 4 + length);
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            }
        }
    });
    format!("http://{address}")
}

/// CPU seconds of the process so far.
fn cpu(telemetry: &Telemetry) -> f64 {
    telemetry.render_prometheus();
    telemetry.snapshot().of("process_cpu_seconds_total").next().unwrap().value
}

fn main() {
    let telemetry = Telemetry::new(TelemetryConfig::default()).unwrap();
    let parent: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    measure("read a traceparent", 1_000_000, || drop(black_box(TraceContext::read(Some(black_box(parent)), None, None))));
    measure("find no context", 1_000_000, || drop(black_box(TraceContext::read(black_box(None), None, None))));
    measure("a trace id and two span ids", 1_000_000, || {
        black_box((TraceId::random(), SpanId::random(), SpanId::random()));
    });
    let context = TraceContext::read(Some(parent), None, None).0.parent.unwrap();
    measure("write a traceparent", 1_000_000, || {
        black_box(black_box(context).child(SpanId::random(), true).text());
    });
    measure("decide", 1_000_000, || {
        black_box(telemetry.tracing().head_sampled(black_box(&context.trace_id), None));
    });
    measure("build a record of three spans", 200_000, || drop(black_box(record())));
    measure("build and keep it among the recent", 200_000, || telemetry.emit(TraceFinished(record())));
    for exporter in [Exporter::OtlpHttp, Exporter::Zipkin] {
        let push = PushConfig { endpoint: collector(), ..PushConfig::default() };
        let queue = 1 << 20;
        let traces = TracesConfig { exporter, push, queue, interval: Duration::from_secs(3600), ..TracesConfig::default() };
        let telemetry = Telemetry::new(TelemetryConfig { traces, ..TelemetryConfig::default() }).unwrap();
        let before = cpu(&telemetry);
        (0..20_000).for_each(|_| telemetry.emit(TraceFinished(record())));
        assert!(telemetry.shutdown(Duration::from_secs(60)));
        println!("{:<44} {:>8.1} us CPU", format!("build, keep and export by {exporter:?}"), (cpu(&telemetry) - before) * 1e6 / 20_000.0);
    }
}
