//! `NAME.toml`, the settings beside a plugin: what is in it, parsed at the door into values that cannot be wrong.
//!
//! [`Reader`] and [`values`] read any of the product's TOML files; the gateway reads its configuration with them too.

mod config;
mod reader;
pub mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::{DeTable, DeValue};
use watchgate_sandbox::{Grants, Isolation, Limits, PluginSettings};

pub use reader::Complaint;
pub use reader::{Reader, Section};

/// A settings file may have this many bytes; more is a mistake, not settings.
pub const MAX_SETTINGS_BYTES: u64 = 1 << 20;

const ROOT_KEYS: [&str; 9] = ["required", "order", "kinds", "isolation", "interval", "collect_interval", "config", "limits", "grants"];
const LIMIT_KEYS: [&str; 5] = ["cpu", "wall", "memory", "max_instances", "max_calls"];
const GRANT_KEYS: [&str; 3] = ["http", "env", "mcp_client"];

const CPU_RANGE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(10);
const WALL_RANGE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(300);
const SCHEDULE_RANGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);
const MEMORY_RANGE: RangeInclusive<u64> = 64 << 10..=4 << 30;

/// Everything that a plugin's settings say. The default is what a plugin without a settings file gets: nothing is
/// granted, every bound is the sandbox's.
#[derive(Clone, Debug, Default)]
pub struct Manifest {
    /// Whether traffic depends on the plugin.
    pub required: bool,
    /// Place in the redaction chain; lower runs first, equal ones by name.
    pub order: i32,
    /// What the sandbox is told.
    pub settings: PluginSettings,
}

/// What is wrong with a settings file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError {
    /// Every mistake, in the order of the lines; never empty.
    pub complaints: Vec<Complaint>,
    /// What the file says about `required`, if that much could be read: a mistake elsewhere must not make traffic
    /// pass without a required plugin.
    pub required: Option<bool>,
}

impl Manifest {
    /// Reads a settings file; `environment` looks up a variable of the gateway's environment.
    pub fn parse(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, ManifestError> {
        let mut reader = Reader::new(text);
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            reader.complain(error.span().unwrap_or(0..0), error.message().replace('\n', ", "));
        }
        let root = document.get_ref();
        let manifest = read_root(root, &mut reader, environment);
        let complaints = reader.into_complaints();
        if complaints.is_empty() {
            return Ok(manifest);
        }
        let required = root.get("required").and_then(|value| value.get_ref().as_bool());
        Err(ManifestError { complaints, required })
    }
}

fn read_root(root: &DeTable<'_>, reader: &mut Reader<'_>, environment: &dyn Fn(&str) -> Option<String>) -> Manifest {
    let section = Section { table: root, prefix: "" };
    reader.refuse_unknown(section, &ROOT_KEYS);
    let defaults = PluginSettings::default();
    let (grants, variables) = read_grants(root, reader, environment);
    let config = match reader.section(root, "config", "config.") {
        Some(section) => config::to_json(section.table, &variables, reader).to_string(),
        None => defaults.config_json,
    };
    let schedule = |value: &DeValue<'_>| values::duration(value, SCHEDULE_RANGE);
    let settings = PluginSettings {
        config_json: config,
        limits: read_limits(root, reader),
        isolation: reader.read(section, "isolation", isolation).unwrap_or_default(),
        grants,
        kinds: reader.read(section, "kinds", values::kinds),
        health_interval: reader.read(section, "interval", schedule).unwrap_or(defaults.health_interval),
        collect_interval: reader.read(section, "collect_interval", schedule).unwrap_or(defaults.collect_interval),
    };
    Manifest {
        required: reader.read(section, "required", values::boolean).unwrap_or_default(),
        order: reader.read(section, "order", order).unwrap_or_default(),
        settings,
    }
}

fn read_limits(root: &DeTable<'_>, reader: &mut Reader<'_>) -> Limits {
    let defaults = Limits::default();
    let Some(section) = reader.section(root, "limits", "limits.") else { return defaults };
    reader.refuse_unknown(section, &LIMIT_KEYS);
    Limits {
        cpu: reader.read(section, "cpu", |value| values::duration(value, CPU_RANGE)),
        wall: reader.read(section, "wall", |value| values::duration(value, WALL_RANGE)),
        memory_bytes: reader.read(section, "memory", |value| values::size(value, MEMORY_RANGE)).unwrap_or(defaults.memory_bytes),
        max_instances: reader.read(section, "max_instances", |value| count(value, 1_000)).unwrap_or(defaults.max_instances),
        max_calls: reader.read(section, "max_calls", |value| count(value, u32::MAX)).unwrap_or(defaults.max_calls),
    }
}

fn read_grants(root: &DeTable<'_>, reader: &mut Reader<'_>, environment: &dyn Fn(&str) -> Option<String>) -> (Grants, config::Variables) {
    let Some(section) = reader.section(root, "grants", "grants.") else { return Default::default() };
    reader.refuse_unknown(section, &GRANT_KEYS);
    let names = reader.read(section, "env", values::variables).unwrap_or_default();
    let variables: BTreeMap<_, _> = names.into_iter().map(|name| (name.clone(), environment(&name))).collect();
    let grants = Grants {
        http: reader.read(section, "http", values::hosts).unwrap_or_default().into_iter().collect(),
        env: variables.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect(),
        mcp_client: reader.read(section, "mcp_client", values::strings).unwrap_or_default().into_iter().collect(),
    };
    (grants, config::Variables(variables))
}

fn order(value: &DeValue<'_>) -> values::Parsed<i32> {
    let number = values::integer(value, i64::from(i32::MIN)..=i64::from(i32::MAX))?;
    i32::try_from(number).map_err(|error| error.to_string())
}

fn count(value: &DeValue<'_>, most: u32) -> values::Parsed<u32> {
    let number = values::integer(value, 1..=i64::from(most))?;
    u32::try_from(number).map_err(|error| error.to_string())
}

fn isolation(value: &DeValue<'_>) -> values::Parsed<Isolation> {
    match value.as_str() {
        Some("reuse") => Ok(Isolation::Reuse),
        Some("call") => Ok(Isolation::Call),
        Some(other) => Err(format!("must be \"reuse\" or \"call\", not \"{other}\"")),
        None => Err(values::wanted("\"reuse\" or \"call\"", value)),
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, complaint) in self.complaints.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(out, "{separator}line {}: {}", complaint.line, complaint.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for ManifestError {}

#[cfg(test)]
#[path = "manifest/tests.rs"]
mod tests;
