//! The configuration file: every key with its place, so that all mistakes are named at once.

pub mod access;
mod keys;
pub mod listeners;
pub mod logs;
pub mod metrics;
pub mod otlp;
mod part;
pub mod proxy;
pub mod push;
mod resilience;
mod rules;
pub mod secret;
mod servers;
pub mod traces;

use std::path::{Path, PathBuf};

use toml::de::DeTable;
use watchgate_alerts::AlertsConfig;
use watchgate_health::HealthConfig;
use watchgate_proxy::{AuthConfig, ClientAddresses, ListenerConfig, ServerConfig};

use crate::complaint::{Complaint, Place};
use access::GuardSettings;
use logs::LogSettings;
use metrics::MetricsSettings;
use part::{FileReader, Part};
use proxy::ProxySettings;
use secret::Environment;
use traces::TraceSettings;

/// Larger than any configuration; a mistake, not settings.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// What the file says. `None` and defaults stand for what it does not say.
#[derive(Clone, Debug, Default)]
pub struct FileSettings {
    /// `listen` or `[[listeners]]`.
    pub listeners: Option<Vec<ListenerConfig>>,
    /// `admin`.
    pub admin: Option<String>,
    /// `[servers.NAME]`, in the order of the file.
    pub servers: Vec<ServerConfig>,
    /// `[proxy]`.
    pub proxy: ProxySettings,
    /// `[clients]`.
    pub clients: ClientAddresses,
    /// `[guard]`.
    pub guard: GuardSettings,
    /// `[auth]`.
    pub auth: Option<AuthConfig>,
    /// `plugins.folder`, relative to the file.
    pub plugins: Option<PathBuf>,
    /// `plugins.required`.
    pub required: Vec<String>,
    /// `plugins.cache`, relative to the file: where compiled plugins are kept.
    pub cache: Option<PathBuf>,
    /// `[logs]`.
    pub logs: LogSettings,
    /// `[metrics]`.
    pub metrics: MetricsSettings,
    /// `[traces]`.
    pub traces: TraceSettings,
    /// `[health]`; the servers are filled in later.
    pub health: HealthConfig,
    /// `[alerts]`.
    pub alerts: AlertsConfig,
    /// The file as it is written.
    pub document: serde_json::Value,
    /// Its text.
    pub text: String,
    /// Other files whose text was read as part of the configuration.
    pub files: Vec<PathBuf>,
}

/// Reads the file: what could be read, and every mistake in it, in the order of the lines.
pub fn read(path: &Path) -> (FileSettings, Vec<Complaint>) {
    let text = match read_text(path) {
        Ok(text) => text,
        Err(text) => return (FileSettings::default(), vec![Complaint { place: Place::WholeFile(path.to_owned()), text }]),
    };
    let environment = |name: &str| std::env::var(name).ok();
    let (settings, complaints) = parse(&text, path.parent().unwrap_or(Path::new("")), &environment);
    let placed = complaints.into_iter().map(|(line, text)| Complaint { place: Place::File(path.to_owned(), line), text });
    (settings, placed.collect())
}

fn read_text(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if length > MAX_FILE_BYTES {
        return Err(format!("is larger than {MAX_FILE_BYTES} bytes"));
    }
    std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}

/// Reads the text of a file that lies in `folder`: what could be read, and every mistake with its line from 1.
pub fn parse(text: &str, folder: &Path, environment: Environment<'_>) -> (FileSettings, Vec<(usize, String)>) {
    let mut reader = FileReader::new(text, folder, environment);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        reader.complain(error.span().unwrap_or(0..0), error.message().replace('\n', ", "));
    }
    let top = reader.top(document.get_ref());
    let proxy = proxy::read(&mut reader, &top);
    let mut settings = FileSettings {
        listeners: listeners::read(&mut reader, &top),
        admin: reader.parsed(&top, "admin", |text| check_address(text).map(|()| text.to_owned())),
        servers: servers::read(&mut reader, &top, &proxy),
        proxy,
        clients: proxy::read_clients(&mut reader, &top),
        guard: access::read_guard(&mut reader, &top),
        auth: access::read_auth(&mut reader, &top),
        alerts: rules::read(&mut reader, &top),
        logs: logs::read(&mut reader, &top),
        metrics: metrics::read(&mut reader, &top),
        traces: traces::read(&mut reader, &top),
        ..FileSettings::default()
    };
    read_plugins(&mut reader, &top, &mut settings);
    read_health(&mut reader, &top, &mut settings.health);
    settings.document = text.parse().ok().and_then(|table: toml::Table| serde_json::to_value(table).ok()).unwrap_or_default();
    settings.text = text.to_owned();
    settings.files = std::mem::take(&mut reader.files);
    let complaints = reader.into_complaints();
    (settings, complaints.into_iter().map(|complaint| (complaint.line, complaint.text)).collect())
}

fn read_plugins(reader: &mut FileReader<'_>, top: &Part<'_, '_>, settings: &mut FileSettings) {
    let Some(part) = reader.part(top, "plugins") else { return };
    settings.plugins = reader.existing_folder(&part, "folder");
    settings.cache = reader.text(&part, "cache").map(|path| reader.folder.join(path));
    settings.required = reader.texts(&part, "required").unwrap_or_default();
    settings.required.sort();
    settings.required.dedup();
}

fn read_health(reader: &mut FileReader<'_>, top: &Part<'_, '_>, health: &mut HealthConfig) {
    let Some(part) = reader.part(top, "health") else { return };
    health.probe_interval = reader.duration(&part, "probe_interval").unwrap_or(health.probe_interval);
    health.probe_timeout = reader.duration(&part, "probe_timeout").unwrap_or(health.probe_timeout);
    health.ready_requires_upstreams = reader.flag(&part, "ready_requires_upstreams").unwrap_or_default();
}

/// Whether a text is `HOST:PORT`.
///
/// # Errors
/// A sentence that completes "KEY ...".
pub fn check_address(text: &str) -> Result<(), String> {
    let fits = text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if fits { Ok(()) } else { Err(format!("must be HOST:PORT such as 127.0.0.1:8080, not \"{text}\"")) }
}

#[cfg(test)]
mod tests;
