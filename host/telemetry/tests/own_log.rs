//! The own log of a process together with its telemetry: a process has one log, so these tests share it.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use watchgate_telemetry::log::{self, LogConfig, LogFormat, LogHandle, LogOutput};
use watchgate_telemetry::{
    AccessLine, AccessLogTarget, ExchangeFinished, HttpMethod, LogFilter, NameKind, ServerMetrics, SpanId, Telemetry, TelemetryConfig,
    TraceId,
};

const DEADLINE: Duration = Duration::from_secs(10);

struct World {
    log: LogHandle,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.log");
        let config = LogConfig { format: LogFormat::Json, output: LogOutput::File(path.clone()), ..LogConfig::default() };
        World { log: log::init(&config).unwrap(), path, _folder: folder }
    })
}

fn telemetry(change: impl FnOnce(&mut TelemetryConfig)) -> Arc<Telemetry> {
    let mut config = TelemetryConfig { log: Some(world().log.clone()), ..TelemetryConfig::default() };
    change(&mut config);
    Telemetry::new(config).unwrap()
}

/// The lines written so far that hold `part`.
fn said(part: &str) -> Vec<Value> {
    assert!(world().log.flush(DEADLINE));
    let text = fs::read_to_string(&world().path).unwrap();
    text.lines().filter(|line| line.contains(part)).map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn exchange<'a>(server: &'a ServerMetrics, line: AccessLine) -> ExchangeFinished<'a> {
    ExchangeFinished {
        server,
        http_method: HttpMethod::Post,
        status: 200,
        outcome: "ok",
        started: SystemTime::UNIX_EPOCH,
        duration: Duration::from_millis(310),
        upstream: Duration::from_millis(250),
        plugins: Duration::from_millis(10),
        request_bytes: 0,
        response_bytes: 0,
        line,
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_slow_call_is_said_with_where_its_time_went() {
    let telemetry = telemetry(|config| config.slow_call_threshold = Some(Duration::from_millis(300)));
    let server = telemetry.server("slow-one");
    server.learn(NameKind::Tool, "echo");
    let trace_id = TraceId::random();
    let line = |name: &str| AccessLine {
        mcp_method: Some("tools/call"),
        name: Some(name.into()),
        name_kind: Some(NameKind::Tool),
        connect: Duration::from_millis(50),
        trace_id: Some(trace_id),
        span_id: SpanId::parse(b"b7ad6b7169203331"),
        ..AccessLine::default()
    };
    telemetry.emit(exchange(&server, line("echo")));
    telemetry.emit(exchange(&server, line("AKIAIOSFODNN7EXAMPLE")));
    telemetry.emit(ExchangeFinished { duration: Duration::from_millis(299), ..exchange(&server, line("echo")) });
    let said = said("slow-one");
    assert_eq!(said.iter().map(|line| line["name"].as_str().unwrap()).collect::<Vec<_>>(), ["echo", "_other"]);
    let parts = ["duration_ms", "gateway_ms", "plugins_ms", "connect_ms", "upstream_ms"].map(|part| said[0][part].as_f64().unwrap());
    assert_eq!(parts, [310.0, 50.0, 10.0, 50.0, 200.0]);
    assert_eq!((&said[0]["level"], &said[0]["mcp_method"]), (&"WARN".into(), &"tools/call".into()));
    assert_eq!((&said[0]["trace_id"], &said[0]["span_id"]), (&trace_id.to_string().into(), &"b7ad6b7169203331".into()));
}

#[test]
fn a_log_that_cannot_be_written_is_said_once_and_its_return_too() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let path = logs.join("access.log");
    let telemetry = telemetry(|config| config.access_log = AccessLogTarget::File(path.clone()));
    let server = telemetry.server("s");
    let emit = |times: u32| {
        for _ in 0..times {
            telemetry.emit(exchange(&server, AccessLine::default()));
            telemetry.flush(DEADLINE);
        }
    };
    let name = path.display().to_string();
    emit(1);
    fs::remove_dir_all(&logs).unwrap();
    until("the loss is said", || {
        emit(1);
        !said(&name).is_empty()
    });
    emit(100);
    let told = || said(&name).iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let begun = "the log cannot be written; lines are lost and counted until it can";
    assert_eq!(told(), [begun]);
    fs::create_dir(&logs).unwrap();
    until("the return is said", || {
        emit(1);
        said(&name).iter().any(|line| line["message"] == "the log is written again")
    });
    emit(100);
    assert_eq!(told(), [begun, "the log is written again"]);
    assert!(said(&name)[1]["lost"].as_u64().unwrap() >= 100);
}

#[test]
fn both_logs_in_one_file_are_whole_lines_of_one_writer() {
    let telemetry = telemetry(|config| config.access_log = AccessLogTarget::File(world().path.clone()));
    let server = telemetry.server("shared-file");
    for round in 0..500 {
        telemetry.emit(exchange(&server, AccessLine::default()));
        tracing::info!(server = "shared-file", round, "said");
    }
    let said = said("shared-file");
    let of = |kind: &str| said.iter().filter(|line| line["type"] == kind).count();
    assert_eq!((of("access"), of("log")), (500, 500));
    assert!(said.chunks(2).all(|pair| pair[0]["type"] == "access" && pair[1]["type"] == "log"), "in the order in which they were said");
    let metrics = telemetry.render_prometheus();
    for signal in ["logs", "access_log"] {
        for reason in ["queue_full", "write_failed"] {
            let series = format!("watchgate_telemetry_dropped_total{{reason=\"{reason}\",signal=\"{signal}\"}} 0");
            assert!(metrics.contains(&series), "{series}");
        }
    }
}

#[test]
fn recent_lines_of_the_own_log_are_found_by_level_server_and_module() {
    let telemetry = telemetry(|_| {});
    let start = telemetry.recent_logs(None, &LogFilter { limit: 1, ..LogFilter::default() }).cursor;
    tracing::info!(server = "recent-one", "one");
    tracing::warn!(server = "recent-one", "two");
    tracing::error!(target: "recent_module::part", "three");
    tracing::info!(target: "recent_module_not", "four");
    assert!(world().log.flush(DEADLINE));
    let check = |change: fn(&mut LogFilter), expected: &[&str]| {
        let mut filter = LogFilter::default();
        change(&mut filter);
        let page = telemetry.recent_logs(Some(start), &filter);
        let lines: Vec<Value> = page.lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.iter().map(|line| line["message"].as_str().unwrap()).collect::<Vec<_>>(), expected, "{filter:?}");
    };
    let own = |filter: &mut LogFilter| filter.server = Some("recent-one".into());
    check(own, &["one", "two"]);
    check(|filter| (filter.server, filter.level) = (Some("recent-one".into()), Some(tracing::Level::WARN)), &["two"]);
    check(|filter| filter.target = Some("recent_module".into()), &["three"]);
    check(|filter| filter.target = Some("recent_module::part".into()), &["three"]);
    check(|filter| filter.target = Some("recent_mod".into()), &[]);
}

#[test]
fn a_process_has_one_log() {
    world();
    assert!(matches!(log::init(&LogConfig::default()), Err(log::LogError::Twice)));
}

/// Set for the child that ends right after it has said something.
const CHILD: &str = "WATCHGATE_TEST_LAST_WORDS_CHILD";

#[test]
fn last_words_are_written_however_the_process_ends() {
    if let Some(ending) = std::env::var_os(CHILD) {
        log::init(&LogConfig { format: LogFormat::Json, ..LogConfig::default() }).unwrap();
        tracing::error!("last words");
        if ending == "exit" {
            std::process::exit(7);
        }
        return;
    }
    for ending in ["exit", "return"] {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", "last_words_are_written_however_the_process_ends", "--nocapture"]).env(CHILD, ending).output();
        let text = String::from_utf8(output.unwrap().stderr).unwrap();
        assert_eq!(text.matches("last words").count(), 1, "{ending}: {text}");
    }
}
