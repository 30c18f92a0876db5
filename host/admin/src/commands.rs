//! What operators can have done, and what they are told of it.

use serde::Serialize;
use watchgate_hooks::BoxFuture;

/// What operators can have done. Implemented by the gateway.
pub trait Commands: Send + Sync {
    /// Scans the plugin folder now. Returns at once.
    fn reload_plugins(&self);

    /// Reads the configuration again and puts it into force, if it is sound.
    fn reload_config(&self) -> BoxFuture<'_, ConfigReload>;

    /// The configuration in force, without secrets.
    fn config(&self) -> serde_json::Value;

    /// The circuit breaker of every endpoint.
    fn breakers(&self) -> Vec<Breaker>;

    /// Opens or closes circuit breakers by hand, or leaves them to themselves again: that of one endpoint, or all of a server's.
    ///
    /// # Errors
    /// When there is no such server or endpoint.
    fn force_breaker(&self, server: &str, endpoint: Option<&str>, wanted: BreakerWish) -> Result<(), NoSuchEndpoint>;
}

/// What came of reading the configuration again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum ConfigReload {
    /// It is in force.
    Applied {
        /// What is different from before, such as `listeners` or `servers.weather`.
        changed: Vec<String>,
        /// Keys that differ from those at the start, and are read at the start only.
        needs_restart: Vec<String>,
    },
    /// It is wrong, or cannot be put into force. The one before stays.
    Refused {
        /// Every mistake.
        complaints: Vec<ConfigComplaint>,
    },
    /// The gateway is ending, or has not started yet.
    Unavailable,
}

/// One mistake in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigComplaint {
    /// The file, if it is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its line there, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What is wrong and what to do about it.
    pub text: String,
}

/// The circuit breaker of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Breaker {
    /// The server's name.
    pub server: String,
    /// The endpoint, `HOST:PORT`.
    pub endpoint: String,
    /// `closed`, `open` or `half_open`.
    pub state: &'static str,
    /// `open` or `closed` where it was set by hand.
    pub forced: Option<&'static str>,
}

/// What an operator wants of a circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerWish {
    /// Nothing passes.
    Open,
    /// Everything passes.
    Closed,
    /// It goes by what it sees.
    Automatic,
}

/// No endpoint is called so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchEndpoint;

impl BreakerWish {
    /// Reads `{"state":"open"}`; `None` when it is something else.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let wish: serde_json::Value = serde_json::from_slice(body).ok()?;
        match wish.get("state")?.as_str()? {
            "open" => Some(Self::Open),
            "closed" => Some(Self::Closed),
            "automatic" => Some(Self::Automatic),
            _ => None,
        }
    }
}
