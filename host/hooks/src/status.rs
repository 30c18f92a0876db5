//! What operators are told about each plugin: the same record for the log, the metrics and `GET /api/plugins`.

use std::time::SystemTime;

use serde::Serialize;

/// What a plugin can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum PluginKind {
    /// Exports `redaction`.
    Redaction,
    /// Exports `derivation`.
    Derivation,
    /// Exports `health`.
    Health,
    /// Exports `alerting`.
    Alerting,
}

impl PluginKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Redaction, Self::Derivation, Self::Health, Self::Alerting];

    /// The name used in labels, settings and status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redaction => "redaction",
            Self::Derivation => "derivation",
            Self::Health => "health",
            Self::Alerting => "alerting",
        }
    }
}

/// The kinds of one component, in the order of [`PluginKind::ALL`] without repetition.
pub type KindSet = std::collections::BTreeSet<PluginKind>;

/// Counts the loaded versions of one plugin name from 1; never reused within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// Where a plugin stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PluginState {
    /// A generation is live and the file on disk is that generation.
    Live,
    /// A generation is live, but the newest file was refused: see `refusal`.
    LiveStale,
    /// Nothing is live: the only file was refused.
    Refused,
    /// Required by name, but there is no such file.
    Missing,
    /// A generation is there and is not called for a while, because it was interrupted again and again.
    Quarantined,
}

impl PluginState {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::LiveStale => "live_stale",
            Self::Refused => "refused",
            Self::Missing => "missing",
            Self::Quarantined => "quarantined",
        }
    }
}

/// One plugin, as shown to operators.
#[derive(Clone, Debug, Serialize)]
pub struct PluginStatus {
    /// File name without `.wasm`.
    pub name: String,
    /// Where it stands.
    pub state: PluginState,
    /// Whether traffic depends on it.
    pub required: bool,
    /// What the live generation is.
    pub kinds: KindSet,
    /// The live generation.
    pub generation: Option<Generation>,
    /// SHA-256 of the live component, lower-case hex.
    pub hash: Option<String>,
    /// Size of the live component in bytes.
    pub size_bytes: Option<u64>,
    /// When the live generation went live, milliseconds since the Unix epoch.
    pub live_since_ms: Option<u64>,
    /// Reason code of the newest refusal, from the catalog's closed set; `None` when the newest file is live.
    pub refusal: Option<&'static str>,
    /// One sentence about the refusal.
    pub refusal_detail: Option<String>,
    /// When it was refused, milliseconds since the Unix epoch.
    pub refused_at_ms: Option<u64>,
}

/// Milliseconds since the Unix epoch; 0 for times before it.
pub fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
