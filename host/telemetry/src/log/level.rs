//! Which events are said, and for how long.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::{Registry, reload};

use super::LogError;

/// The level of the log at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevel {
    /// What is in force.
    pub level: String,
    /// What is in force once the time is over, and now where there is none.
    pub standing: String,
    /// How long `level` is in force still; `None` for good.
    pub remaining: Option<Duration>,
}

/// The level, and the filter that keeps it.
pub(crate) struct Levels {
    filter: reload::Handle<Targets, Registry>,
    state: Mutex<State>,
}

struct State {
    standing: String,
    /// In its place, and until when.
    passing: Option<(String, Instant)>,
}

impl Levels {
    /// `standing` is the level that `filter` was made with.
    pub fn new(standing: String, filter: reload::Handle<Targets, Registry>) -> Self {
        Self { filter, state: Mutex::new(State { standing, passing: None }) }
    }

    pub fn set(&self, level: &str) -> Result<(), LogError> {
        let mut state = self.state.lock();
        self.enforce(parse(level)?)?;
        *state = State { standing: level.to_owned(), passing: None };
        Ok(())
    }

    pub fn set_until(&self, level: &str, until: Instant) -> Result<(), LogError> {
        let mut state = self.state.lock();
        self.enforce(parse(level)?)?;
        state.passing = Some((level.to_owned(), until));
        Ok(())
    }

    pub fn now(&self, now: Instant) -> LogLevel {
        let state = self.state.lock();
        let (level, remaining) = match &state.passing {
            Some((level, until)) => (level, Some(until.saturating_duration_since(now))),
            None => (&state.standing, None),
        };
        LogLevel { level: level.clone(), standing: state.standing.clone(), remaining }
    }

    /// When [`Self::return_if_due`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        self.state.lock().passing.as_ref().map(|(_, until)| *until)
    }

    /// Brings the standing level back when the other's time is over.
    pub fn return_if_due(&self, now: Instant) {
        let mut state = self.state.lock();
        if state.passing.as_ref().is_none_or(|(_, until)| now < *until) {
            return;
        }
        state.passing = None;
        let standing = parse(&state.standing).and_then(|filter| self.enforce(filter));
        let level = state.standing.clone();
        drop(state);
        if standing.is_ok() {
            tracing::info!(level, "the log level is what it was before");
        }
    }

    fn enforce(&self, filter: Targets) -> Result<(), LogError> {
        // The subscriber is the process's own and is never dropped, which is the only way to fail here.
        self.filter.reload(filter).map_err(|_| LogError::Twice)
    }
}

/// Only words that are levels pass: a filter that takes `inof` for the name of a target would log nothing, silently.
pub(super) fn parse(level: &str) -> Result<Targets, LogError> {
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
