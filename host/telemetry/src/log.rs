//! The gateway's own log: `tracing` events as lines on standard error.

use std::io;

use tracing_subscriber::filter::EnvFilter;
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
    filter: reload::Handle<EnvFilter, Registry>,
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
    tracing_subscriber::registry().with(filter).with(lines(config.format, io::stderr)).try_init().map_err(|_| LogError::Twice)?;
    Ok(LogHandle { filter: handle })
}

fn parse(level: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder().parse(level.trim()).ok().filter(|_| !level.trim().is_empty()).ok_or_else(|| LogError::Level(level.to_owned()))
}

fn lines<S, W>(format: LogFormat, output: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    match format {
        LogFormat::Json => {
            fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false).with_writer(output).boxed()
        }
        LogFormat::Pretty => fmt::layer().compact().with_writer(output).boxed(),
    }
}
