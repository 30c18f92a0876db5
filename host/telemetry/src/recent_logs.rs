//! The last lines of the gateway's logs, in memory: what `watchgate logs` reads, with a cursor to go on from.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::Level;

use crate::access_log::AccessField;
use crate::bounded_names::cut;
use crate::log::LogFormat;
use crate::sink::Record;

/// Lines in one page at most, whatever is asked for.
const MOST_LINES: usize = 1000;
/// What access lines have for a target.
const ACCESS: &str = "access";

/// How much is remembered. With 0 lines nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentLogsConfig {
    /// Lines at most.
    pub lines: usize,
    /// Bytes at most that these lines hold in memory.
    pub bytes: usize,
}

impl Default for RecentLogsConfig {
    fn default() -> Self {
        Self { lines: 4096, bytes: 4 << 20 }
    }
}

/// Which lines are wanted: those for which everything that is given is true.
#[derive(Clone, Debug, Default)]
pub struct LogFilter {
    /// At least as grave as this. Of access lines see [`AccessField::Level`].
    pub level: Option<Level>,
    /// About this server.
    pub server: Option<String>,
    /// Said by this module or one within it, for example `watchgate_proxy::tls`; `access` for access lines.
    pub target: Option<String>,
    /// Said of an exchange of the trace whose id begins so.
    pub trace_id: Option<String>,
    /// Said of an exchange with this `X-Request-ID`.
    pub request_id: Option<String>,
    /// With this error id.
    pub error_id: Option<String>,
    /// At most so many; 0 and more than 1000 are 1000.
    pub limit: usize,
}

/// A place between two lines. Those of an earlier run of the gateway stand before all lines of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogCursor(u64);

impl fmt::Display for LogCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl FromStr for LogCursor {
    type Err = ParseIntError;
    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

/// Lines in the order in which they were said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// One JSON object each, without a line feed.
    pub lines: Vec<String>,
    /// After the last line that was looked at: from here it goes on.
    pub cursor: LogCursor,
    /// Lines after the cursor that was given which are no longer remembered, whatever they were.
    pub missed: u64,
}

/// The ring. Records stay unformatted until somebody reads them.
pub(crate) struct RecentLogs {
    config: RecentLogsConfig,
    ring: Mutex<Ring>,
    news: Notify,
}

struct Ring {
    /// With what each holds in memory.
    records: VecDeque<(usize, Record)>,
    /// The number of the first; they count up from it.
    first: u64,
    bytes: usize,
}

impl RecentLogs {
    pub fn new(config: RecentLogsConfig) -> Self {
        // So that numbers rise from one run to the next: no gateway says a line each microsecond for long.
        let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
        let ring = Ring { records: VecDeque::new(), first: u64::try_from(start).unwrap_or(0), bytes: 0 };
        Self { config, ring: Mutex::new(ring), news: Notify::new() }
    }

    /// Remembers a record, and forgets the oldest where there is no room.
    pub fn push(&self, record: Record) {
        let weight = size_of::<(usize, Record)>() + record.heap();
        if self.config.lines == 0 || weight > self.config.bytes {
            return;
        }
        let mut ring = self.ring.lock();
        while ring.records.len() >= self.config.lines || ring.bytes + weight > self.config.bytes {
            let Some((forgotten, _)) = ring.records.pop_front() else { break };
            ring.bytes -= forgotten;
            ring.first += 1;
        }
        ring.bytes += weight;
        ring.records.push_back((weight, record));
    }

    /// Lets those who wait for lines look.
    pub fn tell(&self) {
        self.news.notify_waiters();
    }

    /// The first lines after `after`, or the last of all without it.
    pub fn read(&self, after: Option<LogCursor>, filter: &LogFilter, fields: &[AccessField]) -> LogPage {
        let limit = if filter.limit == 0 { MOST_LINES } else { filter.limit.min(MOST_LINES) };
        let ring = self.ring.lock();
        let end = ring.first + count(ring.records.len());
        let start = match after {
            Some(LogCursor(after)) => after,
            None => ring.tail(filter, limit),
        };
        // A cursor from the future is of another gateway: it starts anew here.
        let start = if start > end { ring.first } else { start };
        let missed = ring.first.saturating_sub(start);
        let mut page = LogPage { lines: Vec::new(), cursor: LogCursor(end), missed: if after.is_some() { missed } else { 0 } };
        let skipped = usize::try_from(start.saturating_sub(ring.first)).unwrap_or(usize::MAX);
        for (index, (_, record)) in ring.records.iter().enumerate().skip(skipped) {
            if page.lines.len() == limit {
                page.cursor = LogCursor(ring.first + count(index));
                break;
            }
            if filter.admits(record) {
                page.lines.push(record.to_json(fields));
            }
        }
        page
    }

    /// As [`Self::read`], but waits for a line where there is none, at most for `patience`.
    pub async fn wait(&self, after: Option<LogCursor>, filter: &LogFilter, fields: &[AccessField], patience: Duration) -> LogPage {
        let deadline = tokio::time::Instant::now() + patience;
        let mut after = after;
        let mut missed = 0_u64;
        loop {
            // From here on no line goes unnoticed: `notify_waiters` wakes what was made before it.
            let news = self.news.notified();
            let mut page = self.read(after, filter, fields);
            missed = missed.saturating_add(page.missed);
            page.missed = missed;
            if !page.lines.is_empty() || tokio::time::timeout_at(deadline, news).await.is_err() {
                return page;
            }
            after = Some(page.cursor);
        }
    }
}

impl Ring {
    /// The place before the last `limit` lines that are wanted.
    fn tail(&self, filter: &LogFilter, limit: usize) -> u64 {
        let wanted = self.records.iter().enumerate().rev().filter(|(_, (_, record))| filter.admits(record));
        wanted.take(limit).last().map_or(self.first + count(self.records.len()), |(index, _)| self.first + count(index))
    }
}

impl LogFilter {
    fn admits(&self, record: &Record) -> bool {
        let (level, target, server) = match record {
            Record::Own(record) => (record.level, record.target, record.server()),
            Record::Access(record) => (record.level(), ACCESS, Some(record.names.server())),
        };
        let is_within =
            |module: &str| target.strip_prefix(module).is_some_and(|rest| module.is_empty() || rest.is_empty() || rest.starts_with("::"));
        // `tracing` orders levels by verbosity.
        self.level.is_none_or(|least| level <= least)
            && self.server.as_deref().is_none_or(|wanted| server == Some(wanted))
            && self.target.as_deref().is_none_or(is_within)
            && self.admits_ids(record)
    }

    fn admits_ids(&self, record: &Record) -> bool {
        let wanted = [("trace_id", &self.trace_id), ("request_id", &self.request_id), ("error_id", &self.error_id)];
        wanted.into_iter().filter_map(|(name, wanted)| Some((name, wanted.as_deref()?))).all(|(name, wanted)| {
            let said = record.id(name);
            said.is_some_and(|said| if name == "trace_id" { said.starts_with(wanted) } else { said == wanted })
        })
    }
}

impl Record {
    fn heap(&self) -> usize {
        match self {
            Self::Own(record) => record.heap(),
            Self::Access(record) => record.heap(),
        }
    }

    /// One of the ids that are looked for.
    fn id(&self, name: &str) -> Option<Cow<'_, str>> {
        match self {
            Self::Own(record) => record.id(name),
            Self::Access(record) => match name {
                "trace_id" => record.line.trace_id.map(|id| id.to_string().into()),
                "request_id" => record.line.request_id.as_deref().map(|id| cut(id).into()),
                _ => record.line.error_id.as_deref().map(Into::into),
            },
        }
    }

    fn to_json(&self, fields: &[AccessField]) -> String {
        let mut line = Vec::new();
        match self {
            Self::Own(record) => record.append_to(&mut line, LogFormat::Json, false),
            Self::Access(record) => record.append_to(&mut line, fields),
        }
        line.pop_if(|last| *last == b'\n');
        String::from_utf8(line).unwrap_or_default()
    }
}

fn count(records: usize) -> u64 {
    u64::try_from(records).unwrap_or(u64::MAX)
}
