//! The configuration file: every key with its place, so that all mistakes are named at once.

use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::{DeTable, DeValue};
use watchgate_alerts::{AlertsConfig, AlertsConfigError};
use watchgate_catalog::manifest::{Reader, Section, values};
use watchgate_health::HealthConfig;
use watchgate_proxy::{Limits, Mount, ServerConfig, ServerLimits, ServerTimeouts, Timeouts};

use crate::complaint::{Complaint, Place};
use crate::rules;
use crate::server_url;

const ROOT_KEYS: [&str; 8] = ["listen", "admin", "proxy", "servers", "plugins", "logs", "health", "alerts"];
const PROXY_KEYS: [&str; 12] = [
    "connect_timeout",
    "head_timeout",
    "idle_timeout",
    "stream_idle_timeout",
    "client_head_timeout",
    "pool_idle_timeout",
    "drain_timeout",
    "pending_timeout",
    "max_request_body",
    "max_connections",
    "max_idle_connections",
    "max_pending_operations",
];
const PLUGIN_KEYS: [&str; 3] = ["folder", "required", "cache"];
const LOG_KEYS: [&str; 3] = ["level", "format", "access_log"];
const HEALTH_KEYS: [&str; 3] = ["probe_interval", "probe_timeout", "ready_requires_upstreams"];
const ALERT_KEYS: [&str; 3] = ["evaluation_interval", "repeat_interval", "rule"];

/// From a millisecond to a day: enough for every deadline that makes sense.
const DEADLINE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);
/// Bounds of `max_request_body`.
const BODY: RangeInclusive<u64> = 1 << 10..=1 << 30;
/// Larger than any configuration; a mistake, not settings.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// What the file says. `None` and defaults stand for what it does not say.
#[derive(Clone, Debug, Default)]
pub struct FileSettings {
    /// `listen`.
    pub listen: Option<String>,
    /// `admin`.
    pub admin: Option<String>,
    /// `[servers.NAME]`, in the order of the file.
    pub servers: Vec<ServerConfig>,
    /// `[proxy]`.
    pub timeouts: Timeouts,
    /// `[proxy]`.
    pub limits: Limits,
    /// `[proxy]`, for every server.
    pub server_timeouts: ServerTimeouts,
    /// `[proxy]`, for every server.
    pub server_limits: ServerLimits,
    /// `plugins.folder`, relative to the file.
    pub plugins: Option<PathBuf>,
    /// `plugins.required`.
    pub required: Vec<String>,
    /// `plugins.cache`, relative to the file: where compiled plugins are kept.
    pub cache: Option<PathBuf>,
    /// `logs.level`.
    pub log_level: Option<String>,
    /// `logs.format`.
    pub log_format: Option<String>,
    /// `logs.access_log`; a path is relative to the working folder, as in a flag.
    pub access_log: Option<String>,
    /// `[health]`; the servers are filled in later.
    pub health: HealthConfig,
    /// `[alerts]`.
    pub alerts: AlertsConfig,
}

/// Reads the file: what could be read, and every mistake in it, in the order of the lines.
pub fn read(path: &Path) -> (FileSettings, Vec<Complaint>) {
    let text = match read_text(path) {
        Ok(text) => text,
        Err(text) => return (FileSettings::default(), vec![Complaint { place: Place::WholeFile(path.to_owned()), text }]),
    };
    let (settings, complaints) = parse(&text, path.parent().unwrap_or(Path::new("")));
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
pub fn parse(text: &str, folder: &Path) -> (FileSettings, Vec<(usize, String)>) {
    let mut reader = Reader::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        reader.complain(error.span().unwrap_or(0..0), error.message().replace('\n', ", "));
    }
    let root = document.get_ref();
    let section = Section { table: root, prefix: "" };
    reader.refuse_unknown(section, &ROOT_KEYS);
    let mut settings = FileSettings {
        listen: reader.read(section, "listen", address),
        admin: reader.read(section, "admin", address),
        servers: servers(root, &mut reader),
        ..FileSettings::default()
    };
    read_proxy(root, &mut reader, &mut settings);
    read_plugins(root, &mut reader, &mut settings, folder);
    read_logs(root, &mut reader, &mut settings);
    read_health(root, &mut reader, &mut settings);
    read_alerts(root, &mut reader, &mut settings);
    let complaints = reader.into_complaints();
    (settings, complaints.into_iter().map(|complaint| (complaint.line, complaint.text)).collect())
}

fn servers(root: &DeTable<'_>, reader: &mut Reader<'_>) -> Vec<ServerConfig> {
    let Some(section) = reader.section(root, "servers", "servers.") else { return Vec::new() };
    let mut servers = Vec::new();
    for (name, value) in section.table {
        let Some(table) = value.get_ref().as_table() else {
            reader.complain(
                value.span(),
                format!("`servers.{}` {}", name.get_ref(), values::wanted("a table with a `url`", value.get_ref())),
            );
            continue;
        };
        let server = Section { table, prefix: "servers.NAME." };
        reader.refuse_unknown(server, &["url"]);
        if !table.contains_key("url") {
            reader.complain(name.span(), format!("the server `{}` has no `url`", name.get_ref()));
        }
        let parse = |value: &DeValue<'_>| server_url::parse(name.get_ref(), text(value)?.as_str(), Mount::Prefix);
        servers.extend(reader.read(server, "url", parse).map(|server| (name.span().start, server)));
    }
    // The table is sorted by name; routing and docs speak of the order of the file.
    servers.sort_by_key(|(start, _)| *start);
    servers.into_iter().map(|(_, server)| server).collect()
}

fn read_proxy(root: &DeTable<'_>, reader: &mut Reader<'_>, settings: &mut FileSettings) {
    let Some(section) = reader.section(root, "proxy", "proxy.") else { return };
    reader.refuse_unknown(section, &PROXY_KEYS);
    let deadline = |value: &DeValue<'_>| values::duration(value, DEADLINE);
    let Timeouts { client_head, drain, pending, .. } = &mut settings.timeouts;
    let ServerTimeouts { connect, head, idle, stream_idle, pool_idle } = &mut settings.server_timeouts;
    let keyed = [
        ("connect_timeout", connect),
        ("head_timeout", head),
        ("idle_timeout", idle),
        ("stream_idle_timeout", stream_idle),
        ("client_head_timeout", client_head),
        ("pool_idle_timeout", pool_idle),
        ("drain_timeout", drain),
        ("pending_timeout", pending),
    ];
    for (key, place) in keyed {
        if let Some(read) = reader.read(section, key, deadline) {
            *place = read;
        }
    }
    if let Some(bytes) = reader.read(section, "max_request_body", |value| values::size(value, BODY)) {
        settings.server_limits.message = usize::try_from(bytes).unwrap_or(usize::MAX);
    }
    let Limits { connections, pending_operations, .. } = &mut settings.limits;
    let idle_connections = &mut settings.server_limits.idle_connections;
    let counts = [
        ("max_connections", connections, 1),
        ("max_idle_connections", idle_connections, 0),
        ("max_pending_operations", pending_operations, 1),
    ];
    for (key, place, least) in counts {
        if let Some(count) = reader.read(section, key, |value| values::integer(value, least..=1_000_000)) {
            *place = usize::try_from(count).unwrap_or(0);
        }
    }
}

fn read_plugins(root: &DeTable<'_>, reader: &mut Reader<'_>, settings: &mut FileSettings, folder: &Path) {
    let Some(section) = reader.section(root, "plugins", "plugins.") else { return };
    reader.refuse_unknown(section, &PLUGIN_KEYS);
    settings.plugins = reader.read(section, "folder", |value| existing_folder(folder, value));
    settings.cache = reader.read(section, "cache", text).map(|path| folder.join(path));
    settings.required = reader.read(section, "required", values::strings).unwrap_or_default().into_iter().collect();
}

fn read_logs(root: &DeTable<'_>, reader: &mut Reader<'_>, settings: &mut FileSettings) {
    let Some(section) = reader.section(root, "logs", "logs.") else { return };
    reader.refuse_unknown(section, &LOG_KEYS);
    settings.log_level = reader.read(section, "level", |value| one_of(value, &crate::settings::LEVELS));
    settings.log_format = reader.read(section, "format", |value| one_of(value, &crate::settings::FORMATS));
    settings.access_log = reader.read(section, "access_log", text);
}

fn read_health(root: &DeTable<'_>, reader: &mut Reader<'_>, settings: &mut FileSettings) {
    let Some(section) = reader.section(root, "health", "health.") else { return };
    reader.refuse_unknown(section, &HEALTH_KEYS);
    let deadline = |value: &DeValue<'_>| values::duration(value, DEADLINE);
    let health = &mut settings.health;
    health.probe_interval = reader.read(section, "probe_interval", deadline).unwrap_or(health.probe_interval);
    health.probe_timeout = reader.read(section, "probe_timeout", deadline).unwrap_or(health.probe_timeout);
    health.ready_requires_upstreams = reader.read(section, "ready_requires_upstreams", values::boolean).unwrap_or_default();
}

fn read_alerts(root: &DeTable<'_>, reader: &mut Reader<'_>, settings: &mut FileSettings) {
    let Some(section) = reader.section(root, "alerts", "alerts.") else { return };
    reader.refuse_unknown(section, &ALERT_KEYS);
    let deadline = |value: &DeValue<'_>| values::duration(value, DEADLINE);
    let alerts = &mut settings.alerts;
    alerts.evaluation_interval = reader.read(section, "evaluation_interval", deadline).unwrap_or(alerts.evaluation_interval);
    alerts.repeat_interval = reader.read(section, "repeat_interval", deadline).unwrap_or(alerts.repeat_interval);
    if let Some(value) = section.table.get("rule") {
        match value.get_ref().as_array() {
            Some(array) => {
                let (places, rules): (Vec<_>, Vec<_>) =
                    array.iter().filter_map(|rule| Some((rule.span(), rules::read(rule, reader)?))).unzip();
                alerts.rules = rules;
                complain_about_rules(alerts, &places, reader);
            }
            None => reader.complain(value.span(), format!("`alerts.rule` {}", values::wanted("`[[alerts.rule]]` tables", value.get_ref()))),
        }
    }
}

/// What is wrong with rules that could be read, alone or together, at the place of each.
fn complain_about_rules(alerts: &AlertsConfig, places: &[Range<usize>], reader: &mut Reader<'_>) {
    for mistake in alerts.validate().err().unwrap_or_default() {
        let place = match &mistake {
            AlertsConfigError::Rule { position, .. } => places.get(position - 1).cloned(),
            AlertsConfigError::Interval { .. } | AlertsConfigError::TooManyRules(_) => None,
        };
        reader.complain(place.unwrap_or(0..0), mistake.to_string());
    }
}

/// A folder that is named must exist.
fn existing_folder(beside: &Path, value: &DeValue<'_>) -> values::Parsed<PathBuf> {
    let path = beside.join(text(value)?);
    if path.is_dir() { Ok(path) } else { Err(format!("names no folder: {}; create it or name another", path.display())) }
}

/// A text.
pub fn text(value: &DeValue<'_>) -> values::Parsed<String> {
    value.as_str().map(str::to_owned).ok_or_else(|| values::wanted("a text", value))
}

/// One of a closed set of texts.
pub fn one_of(value: &DeValue<'_>, known: &[&str]) -> values::Parsed<String> {
    let found = text(value)?;
    if known.contains(&found.as_str()) { Ok(found) } else { Err(format!("must be one of {}, not \"{found}\"", known.join(", "))) }
}

/// `HOST:PORT`.
fn address(value: &DeValue<'_>) -> values::Parsed<String> {
    let found = text(value)?;
    check_address(&found).map(|()| found)
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
mod tests {
    use super::*;

    fn check_refused(text: &str, expected: &[(usize, &str)]) {
        let (_, complaints) = parse(text, Path::new(""));
        assert_eq!(complaints.len(), expected.len(), "{complaints:?}");
        for ((line, text), (expected_line, part)) in complaints.iter().zip(expected) {
            assert!(line == expected_line && text.contains(part), "{line}: {text}");
        }
    }

    #[test]
    fn all_mistakes_are_named_with_their_lines() {
        let text = "listen = \"nowhere\"\n[proxy]\nhead_timeout = 5\nidle_timout = \"5s\"\n[servers.a]\nurl = \"ftp://h\"\n";
        check_refused(
            text,
            &[(1, "HOST:PORT"), (3, "`proxy.head_timeout` must be a duration"), (4, "did you mean `proxy.idle_timeout`"), (6, "http://")],
        );
        check_refused("[servers.a]\n[alerts]\nrule = 3\n", &[(1, "has no `url`"), (3, "[[alerts.rule]]")]);
        let rule = "[[alerts.rule]]\nname = \"r\"\nmetric = \"up\"\nop = \">\"\nthreshold = 1\n";
        check_refused(&format!("[plugins]\nfolder = \"none\"\n{rule}{rule}"), &[(2, "names no folder"), (8, "used by an earlier rule")]);
        check_refused("[logs]\nlevel = \"loud\"\n[logs\n", &[(2, "error, warn, info"), (3, "unclosed table"), (3, "duplicate")]);
    }

    #[test]
    fn a_whole_file() {
        let text = r#"
listen = "0.0.0.0:1"
[proxy]
drain_timeout = "3s"
max_request_body = "1MiB"
[servers.b]
url = "http://h:1/mcp"
[servers.a]
url = "http://h:2"
[plugins]
folder = "p"
required = ["redact-secrets"]
[health]
probe_interval = "1s"
[[alerts.rule]]
name = "r"
metric = "watchgate_mcp_tool_calls_total"
labels = { outcome = "tool_error" }
rate_over = "1m"
op = ">"
threshold = 0.1
for = "30s"
severity = "warning"
"#;
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("p")).unwrap();
        let (settings, complaints) = parse(text, folder.path());
        assert_eq!(complaints, []);
        assert_eq!(settings.listen.as_deref(), Some("0.0.0.0:1"));
        assert_eq!(settings.servers.iter().map(|server| &*server.name).collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(settings.timeouts.drain, Duration::from_secs(3));
        assert_eq!(settings.server_limits.message, 1 << 20);
        assert_eq!(settings.plugins, Some(folder.path().join("p")));
        assert_eq!(settings.alerts.rules.len(), 1);
    }
}
