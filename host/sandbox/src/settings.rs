//! What one plugin may use and is told: plain values, already checked by whoever read them from a file.

use std::collections::BTreeMap;
use std::time::Duration;

use watchgate_hooks::{KindSet, PluginKind};

/// CPU time of one `redact` call unless the settings say otherwise: a message waits for it.
const REDACTION_CPU: Duration = Duration::from_millis(20);
/// And this for each MiB of the message, to the byte: at least three times what the stock policy takes for any text.
const MEGABYTE_CPU_NS: u64 = 60_000_000;
/// CPU time of one call of every other kind, and of `start`.
const OTHER_CPU: Duration = Duration::from_millis(100);
/// Wall deadline of one `redact` call, besides what the size of the message adds to its CPU time: so it is never less than twice that.
const REDACTION_WALL: Duration = Duration::from_secs(1);
/// Wall deadline of one call of every other kind, and of `start`; long enough to ask a server something.
const OTHER_WALL: Duration = Duration::from_secs(10);

/// Whether instances serve more than one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// One instance serves up to [`Limits::max_calls`] calls, one after the other.
    #[default]
    Reuse,
    /// Every call gets an instance of its own. Does not concern derivations, which need their memory.
    Call,
}

/// The bounds of one plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// CPU time of one call; `None` for the kind's default (redaction 20 ms and, in proportion to its bytes, 60 ms for each MiB of the message,
    /// others 100 ms).
    pub cpu: Option<Duration>,
    /// Wall deadline of one call, the wait for an instance included; `None` for the kind's default (redaction 1 s and 60 ms for each MiB of the
    /// message, others 10 s).
    pub wall: Option<Duration>,
    /// Linear memory of one instance in bytes.
    pub memory_bytes: u64,
    /// Instances, and so concurrent calls, of one generation.
    pub max_instances: u32,
    /// Calls after which an instance is replaced.
    pub max_calls: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { cpu: None, wall: None, memory_bytes: 64 << 20, max_instances: 8, max_calls: 1000 }
    }
}

impl Limits {
    /// The CPU budget of one call of this kind, about a message of `bytes`. Reading a large one takes its time, and a plugin that is right for small
    /// messages should not fail on it.
    pub(crate) fn cpu_of(&self, kind: PluginKind, bytes: usize) -> Duration {
        self.cpu.unwrap_or_else(|| if kind == PluginKind::Redaction { REDACTION_CPU + for_size(bytes) } else { OTHER_CPU })
    }

    /// The wall deadline of one call of this kind, about a message of `bytes`.
    pub(crate) fn wall_of(&self, kind: PluginKind, bytes: usize) -> Duration {
        self.wall.unwrap_or_else(|| if kind == PluginKind::Redaction { REDACTION_WALL + for_size(bytes) } else { OTHER_WALL })
    }

    /// The budgets of `start`, which are not settable by the plugin's limits: 100 ms of CPU time, 10 s.
    pub(crate) fn of_start() -> (Duration, Duration) {
        (OTHER_CPU, OTHER_WALL)
    }
}

/// What the size of a message adds to the time that it may take: a straight line from the first byte on, so that no size is a step.
fn for_size(bytes: usize) -> Duration {
    Duration::from_nanos((bytes as u64).saturating_mul(MEGABYTE_CPU_NS) >> 20)
}

/// What a plugin may reach besides the messages it is lent. Empty: nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Hosts for `wasi:http`, each `host:port` or `host` (the default port of the scheme then). An IPv6 address stands in brackets.
    pub http: Vec<String>,
    /// Environment variables, already resolved. The values may be secrets.
    pub env: BTreeMap<String, String>,
    /// Configured MCP servers that `mcp-client` may ask.
    pub mcp_client: Vec<String>,
}

impl Grants {
    /// Whether a call may wait for something outside the process.
    pub(crate) fn reach_out(&self) -> bool {
        !self.http.is_empty() || !self.mcp_client.is_empty()
    }
}

impl std::fmt::Debug for Grants {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&String> = self.env.keys().collect();
        out.debug_struct("Grants").field("http", &self.http).field("env", &names).field("mcp_client", &self.mcp_client).finish()
    }
}

/// Everything [`Sandbox::load`](crate::Sandbox::load) needs to know besides the bytes.
#[derive(Clone)]
pub struct PluginSettings {
    /// The `[config]` table as a JSON object. May hold secrets.
    pub config_json: String,
    /// The bounds.
    pub limits: Limits,
    /// Whether instances are reused.
    pub isolation: Isolation,
    /// What the plugin may reach.
    pub grants: Grants,
    /// The kinds to use; `None` for all that the component exports. A kind listed here that it lacks refuses it.
    pub kinds: Option<KindSet>,
    /// Time between two health checks.
    pub health_interval: Duration,
    /// Time between two calls of `collect`.
    pub collect_interval: Duration,
}

impl Default for PluginSettings {
    fn default() -> Self {
        Self {
            config_json: "{}".to_owned(),
            limits: Limits::default(),
            isolation: Isolation::default(),
            grants: Grants::default(),
            kinds: None,
            health_interval: Duration::from_secs(30),
            collect_interval: Duration::from_secs(15),
        }
    }
}

impl std::fmt::Debug for PluginSettings {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("PluginSettings")
            .field("config_json", &"***")
            .field("limits", &self.limits)
            .field("isolation", &self.isolation)
            .field("grants", &self.grants)
            .field("kinds", &self.kinds)
            .field("health_interval", &self.health_interval)
            .field("collect_interval", &self.collect_interval)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_grow_with_every_byte() {
        let limits = Limits::default();
        let cpu = |bytes| limits.cpu_of(PluginKind::Redaction, bytes).as_micros();
        assert_eq!([cpu(0), cpu(512 << 10), cpu((1 << 20) - 1), cpu(1 << 20), cpu(16 << 20)], [20_000, 50_000, 79_999, 80_000, 980_000]);
        let wall = |bytes| limits.wall_of(PluginKind::Redaction, bytes).as_micros();
        assert_eq!([wall(0), wall(16 << 20)], [1_000_000, 1_960_000]);
        assert_eq!(limits.cpu_of(PluginKind::Health, 1 << 20), OTHER_CPU);
        let set = Limits { cpu: Some(Duration::from_millis(7)), wall: Some(Duration::from_millis(9)), ..limits };
        assert_eq!(set.cpu_of(PluginKind::Redaction, 1 << 20), Duration::from_millis(7));
        assert_eq!(set.wall_of(PluginKind::Redaction, 1 << 20), Duration::from_millis(9));
    }
}
