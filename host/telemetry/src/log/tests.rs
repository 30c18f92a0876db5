//! What the own log writes, to a file of the test's own.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{LogConfig, LogContext, LogError, LogFormat, LogHandle, LogOutput, MaskedFields, build, in_context, level};
use crate::trace::{SpanId, TraceId};

const DEADLINE: Duration = Duration::from_secs(10);

/// A log to `own.log` in the folder while `events` runs.
fn with_log<T>(folder: &Path, config: LogConfig, events: impl FnOnce(&LogHandle) -> T) -> T {
    let (subscriber, handle) = build(&LogConfig { output: LogOutput::File(folder.join("own.log")), ..config }).unwrap();
    let done = tracing::subscriber::with_default(subscriber, || events(&handle));
    assert!(handle.flush(DEADLINE));
    done
}

/// What is written while `events` runs.
fn written(format: LogFormat, level: &str, events: impl FnOnce()) -> String {
    let folder = tempfile::tempdir().unwrap();
    with_log(folder.path(), LogConfig { level: level.to_owned(), format, ..LogConfig::default() }, |_| events());
    fs::read_to_string(folder.path().join("own.log")).unwrap()
}

fn record(events: impl FnOnce()) -> Value {
    let text = written(LogFormat::Json, "info", events);
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

const HOSTILE: [&str; 6] = ["plain", "a\nb\r\n{\"level\":\"ERROR\"}", "\"\\\u{0}\u{1b}[31mred", "\u{2028}ü😀", "x\u{202e}y", ""];

#[test]
fn a_record_is_one_line_of_json_whatever_it_holds() {
    for hostile in HOSTILE {
        let text = written(LogFormat::Json, "info", || {
            let _span = tracing::info_span!("span", field = hostile).entered();
            tracing::warn!(plugin = hostile, debug = ?hostile, count = 3, less = -1, share = 0.5, yes = true, "{hostile}");
        });
        assert_eq!((text.matches('\n').count(), text.ends_with('\n')), (1, true), "{text:?}");
        let record: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&record["message"], &record["plugin"]), (&hostile.into(), &hostile.into()), "{text}");
        assert_eq!(record["debug"], format!("{hostile:?}"));
        assert_eq!((&record["type"], &record["level"], &record["count"]), (&"log".into(), &"WARN".into(), &3.into()));
        assert_eq!((&record["less"], &record["share"], &record["yes"]), (&(-1).into(), &0.5.into(), &true.into()));
        assert_eq!(record["target"], module_path!());
        assert_eq!(record["time"].as_str().map(str::len), Some("2026-11-20T12:00:00.000Z".len()));
    }
}

#[test]
fn fields_named_like_members_do_not_pass_for_them() {
    let record = record(|| tracing::info!(level = "x", time = "y", target = 1, "{}", "said"));
    assert_eq!((&record["level"], &record["field_level"]), (&"INFO".into(), &"x".into()));
    assert_eq!((&record["field_time"], &record["message"]), (&"y".into(), &"said".into()));
}

#[test]
fn the_form_for_people_is_one_line_a_record_too() {
    for hostile in HOSTILE {
        let text = written(LogFormat::Pretty, "info", || tracing::warn!(plugin = hostile, "{hostile}"));
        assert_eq!((text.matches(['\n', '\r', '\u{2028}', '\u{202e}']).count(), text.ends_with('\n')), (1, true), "{text:?}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
    let text = written(LogFormat::Pretty, "info", || tracing::info!(server = "weather", reason = "two words", count = 2, "it changed"));
    let (time, rest) = text.split_at("2026-11-20T12:00:00.000Z".len());
    assert!(time.ends_with('Z'), "{text}");
    assert_eq!(rest, format!("  INFO {}: it changed server=weather reason=\"two words\" count=2\n", module_path!()));
}

#[test]
fn long_texts_are_cut() {
    let record = record(|| tracing::info!(long = "ü".repeat(1 << 20), "{}", "m".repeat(1 << 20)));
    assert_eq!(record["message"].as_str().map(str::len), Some(16 << 10));
    assert_eq!(record["long"].as_str().map(str::len), Some(16 << 10));
}

#[test]
fn levels_and_directives_choose_what_is_written() {
    let check = |level: &str, expected: usize| {
        let text = written(LogFormat::Json, level, || {
            tracing::error!("1");
            tracing::info!("2");
            tracing::debug!("3");
            tracing::debug!(target: "elsewhere", "4");
        });
        assert_eq!(text.lines().count(), expected, "{level}");
    };
    check("off", 0);
    check("error", 1);
    check("info", 2);
    check(" DEBUG ", 4);
    check("error,elsewhere=debug", 2);
    for bad in ["", " ", "loud", "info,", "=info", "a=b=c"] {
        assert!(matches!(level::parse(bad), Err(LogError::Level(named)) if named == bad), "{bad:?}");
    }
}

#[test]
fn a_level_for_a_time_gives_way_to_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    with_log(folder.path(), LogConfig { level: "error".into(), ..LogConfig::default() }, |log| {
        assert!(matches!(log.set_level_for("loud", DEADLINE), Err(LogError::Level(_))));
        assert_eq!((log.level().level.as_str(), log.level().remaining), ("error", None));
        log.set_level_for("info,elsewhere=debug", Duration::from_secs(3600)).unwrap();
        let now = log.level();
        assert_eq!((now.level.as_str(), now.standing.as_str()), ("info,elsewhere=debug", "error"));
        assert!(now.remaining.is_some_and(|remaining| remaining > Duration::from_secs(3500)));
        tracing::debug!(target: "elsewhere", "heard");
        // The time that is set anew counts, and the writer, which may be parked, hears of it.
        log.set_level_for("debug", Duration::from_millis(1)).unwrap();
        let until = Instant::now() + DEADLINE;
        while log.level().remaining.is_some() {
            assert!(Instant::now() < until, "the level before comes back");
            std::thread::yield_now();
        }
        assert_eq!(log.level().level, "error");
        tracing::info!("not heard");
        log.set_level_for("debug", Duration::from_secs(3600)).unwrap();
        log.set_level("warn").unwrap();
        assert_eq!((log.level().level.as_str(), log.level().standing.as_str(), log.level().remaining), ("warn", "warn", None));
    });
    let text = fs::read_to_string(folder.path().join("own.log")).unwrap();
    assert!(text.contains("heard") && !text.contains("not heard"), "{text}");
}

#[test]
fn secrets_by_name_are_masked() {
    let folder = tempfile::tempdir().unwrap();
    let config = LogConfig { masked: MaskedFields::with(["iban"]), format: LogFormat::Json, ..LogConfig::default() };
    with_log(folder.path(), config, |_| {
        tracing::info!(api_token = "hunter2", password = ?"hunter2", iban = "hunter2", key = 7, keyboard = "dvorak", "said");
    });
    let text = fs::read_to_string(folder.path().join("own.log")).unwrap();
    assert!(!text.contains("hunter2") && text.contains("dvorak"), "{text}");
    let record: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(["api_token", "password", "iban", "key"].map(|name| record[name].as_str()), [Some("***"); 4]);
}

#[test]
fn what_is_said_on_behalf_of_an_exchange_carries_its_ids() {
    let context = |digit: char| LogContext {
        trace_id: TraceId::parse(digit.to_string().repeat(32).as_bytes()),
        span_id: SpanId::parse(digit.to_string().repeat(16).as_bytes()),
        request_id: Some(format!("r-{digit}").into()),
    };
    let folder = tempfile::tempdir().unwrap();
    with_log(folder.path(), LogConfig { format: LogFormat::Json, ..LogConfig::default() }, |_| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let work = |digit: char| {
            in_context(context(digit), async move {
                for _ in 0..3 {
                    tracing::info!(of = digit.to_string(), "said");
                    tokio::task::yield_now().await;
                }
                tracing::info!(of = digit.to_string(), request_id = format!("r-{digit}"), "said with its own");
            })
        };
        // Both are polled in turns on one thread.
        runtime.block_on(async { tokio::join!(work('1'), work('2')) });
        tracing::info!(of = "0", "outside");
    });
    let text = fs::read_to_string(folder.path().join("own.log")).unwrap();
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 9);
    for (line, record) in text.lines().zip(&records) {
        let of = record["of"].as_str().unwrap();
        let expected = if of == "0" { [None; 3] } else { [32, 16, 0].map(Some) };
        let digits = ["trace_id", "span_id"].map(|name| record[name].as_str());
        assert_eq!(
            digits,
            [expected[0], expected[1]].map(|length| length.map(|length| of.repeat(length))).each_ref().map(Option::as_deref)
        );
        assert_eq!(record["request_id"].as_str(), (of != "0").then(|| format!("r-{of}")).as_deref());
        assert!(line.matches("\"request_id\"").count() <= 1, "{line}");
    }
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absent/own.log");
    let Err(error) = build(&LogConfig { output: LogOutput::File(path.clone()), ..LogConfig::default() }) else {
        panic!("{} was opened", path.display())
    };
    assert!(error.to_string().starts_with(&format!("cannot write the log to {}: ", path.display())), "{error}");
}
