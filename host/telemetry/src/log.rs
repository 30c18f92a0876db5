//! The gateway's own log: `tracing` events as lines on a stream of the process or in a file.

mod context;
mod layer;
mod level;
mod masked;
mod record;
mod throttle;

use std::fmt;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::recent_logs::{RecentLogs, RecentLogsConfig};
use crate::sink::{Output, Rotation, Sink, SinkConfig};
pub use context::{LogContext, in_context, within_context};
use layer::Lines;
pub(crate) use layer::keep_own_events;
pub(crate) use level::Levels;
pub use level::LogLevel;
pub use masked::MaskedFields;
pub(crate) use record::{FieldValue, LogRecord, MEMBERS};
pub use throttle::Throttle;

/// What was said last gets this long to be written when the process ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    #[default]
    Pretty,
}

/// Where the own log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard output.
    Stdout,
    /// Standard error.
    #[default]
    Stderr,
    /// Appended to this file, which is made when absent.
    File(PathBuf),
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug`, `trace` or `off`; also directives such as `info,watchgate_proxy=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
    /// Where they go.
    pub output: LogOutput,
    /// When a file is put aside; never without it.
    pub rotation: Option<Rotation>,
    /// Fields of events that are shown as `***`.
    pub masked: MaskedFields,
    /// How many lines are remembered for `watchgate logs`, access lines included.
    pub recent: RecentLogsConfig,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::default(),
            output: LogOutput::default(),
            rotation: None,
            masked: MaskedFields::default(),
            recent: RecentLogsConfig::default(),
        }
    }
}

/// Why the log could not be set up or changed: the operator's configuration or the machine.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is none.
    #[error("`{0}` is no log level: error, warn, info, debug, trace, off, or `target=level` separated by commas")]
    Level(String),
    /// The file cannot be opened for appending, or the thread that writes cannot be started.
    #[error("cannot write the log to {output}: {source}")]
    Output {
        /// The configured file, or what the stream is called.
        output: String,
        /// What the system says.
        source: io::Error,
    },
    /// The process has a log already.
    #[error("the log is set up already")]
    Twice,
}

/// The log while it runs. Give it to [`crate::TelemetryConfig::log`] too, so that what it loses is counted and what it says
/// can be read.
#[derive(Clone)]
pub struct LogHandle {
    levels: Arc<Levels>,
    sink: Arc<Sink>,
}

impl LogHandle {
    /// Sets another level for good, as in [`LogConfig::level`]. Ends one that was set for a time.
    ///
    /// # Errors
    /// When it is no level; the log stays as it is.
    pub fn set_level(&self, level: &str) -> Result<(), LogError> {
        self.levels.set(level)
    }

    /// Sets another level for `duration`; after it the one that was last set for good comes back.
    ///
    /// # Errors
    /// When it is no level; the log stays as it is.
    pub fn set_level_for(&self, level: &str, duration: Duration) -> Result<(), LogError> {
        self.levels.set_until(level, Instant::now() + duration)?;
        self.sink.wake();
        Ok(())
    }

    /// The level now.
    pub fn level(&self) -> LogLevel {
        self.levels.now(Instant::now())
    }

    /// Waits until what was said before the call is written, at most for `deadline`; tells whether it is.
    pub fn flush(&self, deadline: Duration) -> bool {
        self.sink.flush(deadline)
    }

    pub(crate) fn sink(&self) -> &Arc<Sink> {
        &self.sink
    }
}

impl fmt::Debug for LogHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LogHandle").field("level", &self.level()).finish_non_exhaustive()
    }
}

/// Sets the log up for the process, once. What was said when the process ends is still written, within a second.
///
/// # Errors
/// When the level is none, the file cannot be opened, or there is a log already.
pub fn init(config: &LogConfig) -> Result<LogHandle, LogError> {
    let (subscriber, handle) = build(config)?;
    subscriber.try_init().map_err(|_| LogError::Twice)?;
    write_last_words_of(&handle);
    Ok(handle)
}

/// Whether a text is a level, as in [`LogConfig::level`].
///
/// # Errors
/// When it is none.
pub fn check_level(level: &str) -> Result<(), LogError> {
    level::parse(level).map(drop)
}

fn build(config: &LogConfig) -> Result<(impl tracing::Subscriber + Send + Sync + use<>, LogHandle), LogError> {
    let (filter, reloads) = reload::Layer::new(level::parse(&config.level)?);
    let output = match &config.output {
        LogOutput::Stdout => Output::Stdout,
        LogOutput::Stderr => Output::Stderr,
        LogOutput::File(path) => Output::File { path: path.clone(), rotation: config.rotation },
    };
    let colours = match output {
        Output::Stdout => io::stdout().is_terminal(),
        Output::Stderr => io::stderr().is_terminal(),
        Output::File { .. } => false,
    };
    let levels = Arc::new(Levels::new(config.level.clone(), reloads));
    let name = output.name();
    let sink = Sink::start(SinkConfig {
        output,
        format: config.format,
        colours,
        recent: Arc::new(RecentLogs::new(config.recent)),
        levels: Some(levels.clone()),
    });
    let sink = Arc::new(sink.map_err(|source| LogError::Output { output: name, source })?);
    let lines = Lines::new(sink.clone(), config.masked.clone());
    Ok((tracing_subscriber::registry().with(filter).with(lines), LogHandle { levels, sink }))
}

/// The process may end anywhere, by `exit` too, and the subscriber is never dropped.
fn write_last_words_of(handle: &LogHandle) {
    static LOG: OnceLock<LogHandle> = OnceLock::new();
    extern "C" fn write_last_words() {
        if let Some(log) = LOG.get() {
            log.flush(LAST_WORDS);
        }
    }
    if LOG.set(handle.clone()).is_ok() {
        // SAFETY: the function does not unwind, and what it reads is never freed.
        unsafe { libc::atexit(write_last_words) };
    }
}

#[cfg(test)]
mod tests;
