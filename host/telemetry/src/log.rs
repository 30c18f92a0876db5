//! The gateway's own log: `tracing` events as lines on standard error.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug`, `trace` or `off`; also directives such as `info,watchgate_proxy=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// Why the log could not be set up or changed: the operator's configuration.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is none.
    #[error("`{0}` is no log level: error, warn, info, debug, trace, off, or `target=level` separated by commas")]
    Level(String),
    /// The process has a log already.
    #[error("the log is set up already")]
    Twice,
}

/// Changes the log while it runs.
#[derive(Clone, Debug)]
pub struct LogHandle {
    filter: reload::Handle<Targets, Registry>,
}

impl LogHandle {
    /// Sets another level, as in [`LogConfig::level`].
    pub fn set_level(&self, level: &str) -> Result<(), LogError> {
        let filter = parse(level)?;
        // The subscriber is the process's own and is never dropped, which is the only way to fail here.
        self.filter.reload(filter).map_err(|_| LogError::Twice)
    }
}

/// Sets the log up for the process, once.
pub fn init(config: &LogConfig) -> Result<LogHandle, LogError> {
    let (filter, handle) = reload::Layer::new(parse(&config.level)?);
    let layer = lines(config.format, io::stderr().is_terminal(), io::stderr);
    tracing_subscriber::registry().with(filter).with(layer).try_init().map_err(|_| LogError::Twice)?;
    Ok(LogHandle { filter: handle })
}

/// Only words that are levels pass: a filter that takes `inof` for the name of a target would log nothing, silently.
fn parse(level: &str) -> Result<Targets, LogError> {
    let refused = || LogError::Level(level.to_owned());
    let mut targets = Targets::new().with_default(LevelFilter::OFF);
    for directive in level.split(',').map(str::trim) {
        let (target, word) = directive.split_once('=').map_or((None, directive), |(target, word)| (Some(target), word));
        let filter = match word.to_ascii_lowercase().as_str() {
            "off" => LevelFilter::OFF,
            "error" => LevelFilter::ERROR,
            "warn" => LevelFilter::WARN,
            "info" => LevelFilter::INFO,
            "debug" => LevelFilter::DEBUG,
            "trace" => LevelFilter::TRACE,
            _ => return Err(refused()),
        };
        targets = match target {
            None => targets.with_default(filter),
            Some("") => return Err(refused()),
            Some(target) => targets.with_target(target, filter),
        };
    }
    Ok(targets)
}

fn lines<S, W>(format: LogFormat, colours: bool, output: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    match format {
        LogFormat::Json => {
            fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false).with_writer(output).boxed()
        }
        LogFormat::Pretty => fmt::layer().compact().with_ansi(colours).with_writer(OneLine(output)).boxed(),
    }
}

/// Keeps a record on its line: a message may quote a plugin, and what follows a line feed would pass for a record of ours.
struct OneLine<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for OneLine<W> {
    type Writer = OneLine<W::Writer>;
    fn make_writer(&'a self) -> Self::Writer {
        OneLine(self.0.make_writer())
    }
}

impl<W: Write> Write for OneLine<W> {
    /// The layer writes each record, with its line feed, in one piece.
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let text = record.strip_suffix(b"\n").unwrap_or(record);
        if text.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            let mut line = Vec::with_capacity(record.len() + 16);
            for byte in text {
                match byte {
                    b'\n' => line.extend_from_slice(b"\\n"),
                    b'\r' => line.extend_from_slice(b"\\r"),
                    other => line.push(*other),
                }
            }
            line.push(b'\n');
            self.0.write_all(&line)?;
        } else {
            self.0.write_all(record)?;
        }
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use serde_json::Value;
    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt;

    use super::{LogError, LogFormat, lines, parse};

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Memory {
        type Writer = Self;
        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    /// What is written while `events` runs.
    fn written(format: LogFormat, level: &str, events: impl FnOnce()) -> String {
        let memory = Memory::default();
        let subscriber = tracing_subscriber::registry().with(parse(level).unwrap()).with(lines(format, false, memory.clone()));
        tracing::subscriber::with_default(subscriber, events);
        let bytes = memory.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    const HOSTILE: [&str; 5] = ["plain", "a\nb\r\n{\"level\":\"ERROR\"}", "\"\\\u{0}\u{1b}[31mred", "\u{2028}ü😀", ""];

    #[test]
    fn a_record_is_one_line_of_json_whatever_it_holds() {
        for hostile in HOSTILE {
            let text = written(LogFormat::Json, "info", || {
                let _span = tracing::info_span!("span", field = hostile).entered();
                tracing::warn!(plugin = hostile, debug = ?hostile, count = 3, "{hostile}");
            });
            assert_eq!((text.matches('\n').count(), text.ends_with('\n')), (1, true), "{text:?}");
            let record: Value = serde_json::from_str(&text).unwrap();
            assert_eq!((&record["message"], &record["plugin"]), (&hostile.into(), &hostile.into()), "{text}");
            assert_eq!((&record["level"], &record["count"]), (&"WARN".into(), &3.into()));
            assert!(record["timestamp"].is_string() && record["target"].is_string());
        }
    }

    #[test]
    fn the_form_for_people_is_one_line_a_record_too() {
        for hostile in HOSTILE {
            let text = written(LogFormat::Pretty, "info", || tracing::warn!(plugin = hostile, "{hostile}"));
            assert_eq!((text.matches(['\n', '\r']).count(), text.ends_with('\n')), (1, true), "{text:?}");
            assert!(!text.contains("\u{1b}[31m"), "{text:?}");
        }
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
            assert!(matches!(parse(bad), Err(LogError::Level(named)) if named == bad), "{bad:?}");
        }
    }
}
