//! The probe's settings, and the interest they declare.

use std::time::SystemTime;

use serde::Deserialize;
use watchgate_plugin::{Direction, Setup, Surface};

/// The `[config]` table; see the fields for the values each key takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `ok`, `err`, or an evil (`evil.rs`).
    pub start: String,
    /// `pass`, `deny`, `not-json`, `change-id`, `mask:FROM=TO`, `set:POINTER=JSON`, `body:TEXT`, `huge-log`, `overlap-masks`, `cut-escape`,
    /// `out-of-range`, `count-instances` (replaces `when` by the number of calls this instance has had), or an evil.
    pub redact: String,
    /// `count`, `undeclared-metric`, `series-flood`, `bad-values`, or an evil.
    pub observe: String,
    /// `ok`, `degraded`, `failing`, `long` (a detail of 12 KB), or an evil (`wait` first waits an hour).
    pub health: String,
    /// `ok`, `error`, `error-first:COUNT`, or an evil.
    pub notify: String,
    /// Do what is asked only for messages whose raw body holds this text, and for operations whose name does.
    pub when: String,
    /// Milliseconds since the Unix epoch: from the first on and before the second every call of `redact` loops, whatever it is shown.
    pub loops_between: (u64, u64),
    /// What to declare in `start`.
    pub triggers: Vec<String>,
    /// `wire` or `telemetry`.
    pub surfaces: Vec<String>,
    /// `client-to-server` or `server-to-client`.
    pub directions: Vec<String>,
    /// Methods wanted.
    pub methods: Vec<String>,
    /// Tools wanted.
    pub tools: Vec<String>,
    /// Whether `observe` wants the text of messages.
    pub keep_text: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            start: "ok".to_owned(),
            redact: "pass".to_owned(),
            observe: "count".to_owned(),
            health: "ok".to_owned(),
            notify: "ok".to_owned(),
            when: String::new(),
            loops_between: (0, 0),
            triggers: Vec::new(),
            surfaces: Vec::new(),
            directions: Vec::new(),
            methods: Vec::new(),
            tools: Vec::new(),
            keep_text: false,
        }
    }
}

impl Config {
    /// Whether it is time for `redact` to loop.
    pub fn loops_now(&self) -> bool {
        let (from, until) = self.loops_between;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        until > 0 && (from..until).contains(&now)
    }

    /// Tells the gateway what the lists ask for.
    pub fn declare_interest(&self, setup: &Setup) -> Result<(), String> {
        for trigger in &self.triggers {
            setup.add_trigger(trigger)?;
        }
        for surface in &self.surfaces {
            setup.want_surface(match surface.as_str() {
                "wire" => Surface::Wire,
                "telemetry" => Surface::Telemetry,
                other => return Err(format!("unknown surface {other}")),
            });
        }
        for direction in &self.directions {
            setup.want_direction(match direction.as_str() {
                "client-to-server" => Direction::ClientToServer,
                "server-to-client" => Direction::ServerToClient,
                other => return Err(format!("unknown direction {other}")),
            });
        }
        self.methods.iter().for_each(|method| setup.want_method(method));
        self.tools.iter().for_each(|tool| setup.want_tool(tool));
        if self.keep_text {
            setup.keep_text();
        }
        Ok(())
    }
}
