//! Flags, environment and file put together into what each room is told.

mod otel;

use std::path::{Path, PathBuf};

use serde_json::Value;
use watchgate_admin::Secret;
use watchgate_alerts::AlertsConfig;
use watchgate_health::HealthConfig;
use watchgate_proxy::{ListenerConfig, Mount, ProxyConfig, ServerConfig};

use crate::caution::Written;
use crate::cli::RunArguments;
use crate::complaint::Complaint;
use crate::descriptors;
use crate::effective;
use crate::file::listeners::cleartext;
use crate::file::logs::{self, LogSettings};
use crate::file::metrics::MetricsSettings;
use crate::file::secret::Environment;
use crate::file::traces::TraceSettings;
use crate::file::{self, FileSettings};
use crate::guard_defaults::{guard, is_loopback};
use crate::server_url;
use otel::OtelVariables;

/// Values of `logs.format`.
const FORMATS: [&str; 2] = ["pretty", "json"];
/// The bearer token of the admin listener. Only from the environment: a flag would show it to everybody on the machine.
const TOKEN_VARIABLE: &str = "WATCHGATE_ADMIN_TOKEN";
/// Used when no folder is named and this one exists.
const DEFAULT_PLUGINS: &str = "plugins";

/// Without a list of hosts where others can reach the gateway.
const OPEN_GUARD: &str = "every `Host` is let in, since the gateway does not know under which names others reach it: \
    set guard.hosts to these names as a defence against DNS rebinding, or to [\"*\"] if something in front sees to it";

/// Where compiled plugins are kept, so that the next start need not compile them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Nowhere.
    Off,
    /// In a folder that was named: it must be usable.
    Named(PathBuf),
    /// In the user's cache folder, if it can be used.
    Default(PathBuf),
}

/// Everything, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses for traffic.
    pub listeners: Vec<ListenerConfig>,
    /// Address for operators.
    pub admin: String,
    /// Token for operators.
    pub admin_token: Option<Secret>,
    /// For the proxy.
    pub proxy: ProxyConfig,
    /// The plugin folder; `None` when none is named and the default one does not exist.
    pub plugins: Option<PathBuf>,
    /// Plugins without which no traffic passes.
    pub required: Vec<String>,
    /// Where compiled plugins are kept.
    pub cache: Cache,
    /// Both logs.
    pub logs: LogSettings,
    /// How metrics are told.
    pub metrics: MetricsSettings,
    /// Traces.
    pub traces: TraceSettings,
    /// For health.
    pub health: HealthConfig,
    /// For alerts.
    pub alerts: AlertsConfig,
    /// What is sound, but should be known.
    pub warnings: Vec<String>,
    /// All of it as the file would say it.
    pub document: Value,
    /// What the file says.
    pub written: Written,
}

/// What came of reading everything.
pub struct Loaded {
    /// The configuration file and the files whose text counts as part of it.
    pub files: Vec<PathBuf>,
    /// The settings, or every mistake found.
    pub settings: Result<Settings, Vec<Complaint>>,
}

impl Settings {
    /// Allows no more client connections than so many open files are enough for: where accepting fails, operators are shut out too.
    fn bound_connections(&mut self, files: u64) {
        let (wanted, most) = (self.proxy.limits.connections, descriptors::connections_of(files));
        if wanted > most {
            self.proxy.limits.connections = most;
            self.document["proxy"]["max_connections"] = most.into();
            self.warnings.push(format!(
                "no more than {most} client connections are let in instead of max_connections = {wanted}: the process may open {files} files (ulimit -n)"
            ));
        }
    }

    /// Says what should be known.
    pub fn warn(&self) {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
    }

    /// These settings, but for what is read at the start only, which is as in `started`.
    pub fn with_start_only_of(self, started: &Self) -> Self {
        let mut settings = Self {
            admin: started.admin.clone(),
            admin_token: started.admin_token.clone(),
            plugins: started.plugins.clone(),
            required: started.required.clone(),
            cache: started.cache.clone(),
            logs: LogSettings { level: self.logs.level.clone(), ..started.logs.clone() },
            metrics: started.metrics.clone(),
            traces: self.traces.with_start_only_of(&started.traces),
            ..self
        };
        settings.proxy.propagation = settings.traces.propagation();
        settings.proxy.expects_policies = started.proxy.expects_policies;
        effective::keep_started(&mut settings.document, &started.document);
        settings
    }
}

/// Reads the file and puts everything together; starts nothing.
pub fn load(arguments: &RunArguments) -> Loaded {
    let (mut file, mut complaints) = arguments.config.as_deref().map(file::read).unwrap_or_default();
    let files = arguments.config.iter().chain(&file.files).cloned().collect();
    let warnings = apply_otel(&|name| std::env::var(name).ok(), &mut file, &mut complaints);
    let mut settings = assemble(arguments, file, &mut complaints);
    settings.warnings.extend(warnings);
    if let Some(files) = descriptors::most() {
        settings.bound_connections(files);
    }
    Loaded { files, settings: if complaints.is_empty() { Ok(settings) } else { Err(complaints) } }
}

/// Puts the standard variables of OpenTelemetry on top of the file; what should be known of them.
fn apply_otel(environment: Environment<'_>, file: &mut FileSettings, complaints: &mut Vec<Complaint>) -> Vec<String> {
    let mut variables = OtelVariables::new(environment);
    variables.apply(&mut file.traces, &mut file.metrics.otlp, &mut file.logs.otlp);
    complaints.append(&mut variables.complaints);
    effective::show_all(&mut file.document, variables.shown);
    variables.warnings
}

/// What flags and a file come to; only to be used when there was nothing to complain about.
fn assemble(arguments: &RunArguments, file: FileSettings, complaints: &mut Vec<Complaint>) -> Settings {
    let servers = servers(arguments, &file, complaints);
    let document = effective::document(&file.document, arguments);
    let listeners = match &arguments.listen {
        Some(given) => vec![cleartext(address("--listen", Some(given), None, "", complaints))],
        None => file.listeners.unwrap_or_else(|| vec![cleartext("127.0.0.1:8080".to_owned())]),
    };
    let guard_is_said = file.guard.hosts.is_some();
    let plugins = plugin_folder(arguments.plugins.as_deref(), file.plugins, complaints);
    let required = [file.required, arguments.require.clone()].concat();
    let mut settings = Settings {
        admin: address("--admin", arguments.admin.as_ref(), file.admin, "127.0.0.1:9090", complaints),
        admin_token: std::env::var(TOKEN_VARIABLE).ok().and_then(|token| Secret::new(&token)),
        health: HealthConfig { servers: probed(&servers), ..file.health },
        proxy: ProxyConfig {
            guard: guard(file.guard, &listeners, &servers),
            servers,
            timeouts: file.proxy.timeouts,
            limits: file.proxy.limits,
            clients: file.clients,
            auth: file.auth,
            propagation: file.traces.propagation(),
            expects_policies: plugins.is_some() || !required.is_empty(),
            preserves_header_case: file.proxy.preserves_header_case,
        },
        listeners,
        plugins,
        required,
        cache: cache(file.cache),
        logs: with_flags(file.logs, arguments, complaints),
        metrics: file.metrics,
        traces: file.traces,
        alerts: file.alerts,
        warnings: Vec::new(),
        document,
        written: Written { text: file.text, document: file.document },
    };
    effective::show_guard(&mut settings.document, &settings.proxy.guard);
    if settings.proxy.guard.hosts.is_none() && !guard_is_said {
        settings.warnings.push(OPEN_GUARD.to_owned());
    }
    if settings.admin_token.is_none() && !is_loopback(&settings.admin) {
        let admin = &settings.admin;
        complaints.push(Complaint::flag(
            "--admin",
            format!("{admin} can be reached from other machines: set {TOKEN_VARIABLE} in the environment, or listen on 127.0.0.1"),
        ));
    }
    settings
}

fn servers(arguments: &RunArguments, file: &FileSettings, complaints: &mut Vec<Complaint>) -> Vec<ServerConfig> {
    if arguments.upstream.is_empty() {
        // When the file has mistakes, this may be one more consequence of them.
        if file.servers.is_empty() && complaints.is_empty() {
            complaints
                .push(Complaint::together("no MCP server is configured; name one with --upstream URL or [servers.NAME] url = \"...\""));
        }
        return file.servers.clone();
    }
    let mut servers = Vec::new();
    for value in &arguments.upstream {
        match server_url::parse_flag(value) {
            Ok(server) => servers.push(ServerConfig {
                timeouts: file.proxy.server_timeouts.clone(),
                limits: file.proxy.server_limits.clone(),
                probe: file.proxy.probe,
                ..server
            }),
            Err(problem) => complaints.push(Complaint::flag("--upstream", problem)),
        }
    }
    check_together(&servers, complaints);
    servers
}
/// The servers that are asked by the gateway itself whether they are up.
fn probed(servers: &[ServerConfig]) -> Vec<String> {
    servers.iter().filter(|server| server.probe).map(|server| server.name.clone()).collect()
}

fn check_together(servers: &[ServerConfig], complaints: &mut Vec<Complaint>) {
    if servers.len() > 1 && servers.iter().any(|server| server.mount == Mount::Root) {
        complaints.push(Complaint::flag("--upstream", "with several servers each needs a name: --upstream NAME=URL"));
        return;
    }
    for (index, server) in servers.iter().enumerate() {
        if servers[..index].iter().any(|other| other.name == server.name) {
            complaints.push(Complaint::flag("--upstream", format!("the name `{}` is used twice", server.name)));
        }
    }
}

fn address(flag: &'static str, given: Option<&String>, file: Option<String>, default: &str, complaints: &mut Vec<Complaint>) -> String {
    match given {
        Some(text) => {
            if let Err(problem) = file::check_address(text) {
                complaints.push(Complaint::flag(flag, problem));
            }
            text.clone()
        }
        None => file.unwrap_or_else(|| default.to_owned()),
    }
}

fn with_flags(file: LogSettings, arguments: &RunArguments, complaints: &mut Vec<Complaint>) -> LogSettings {
    let mut settings = file;
    if let Some(text) = &arguments.log_level {
        match logs::level(text) {
            Ok(level) => settings.level = level,
            Err(problem) => complaints.push(Complaint::flag("--log-level", problem)),
        }
    }
    match arguments.log_format.as_deref() {
        Some(word) if FORMATS.contains(&word) => settings.format = logs::format(word),
        Some(word) => complaints.push(Complaint::flag("--log-format", format!("must be one of {}, not \"{word}\"", FORMATS.join(", ")))),
        None => {}
    }
    if let Some(text) = &arguments.access_log {
        settings.access_log = logs::access_log(text);
    }
    settings
}

/// A folder that a flag names must exist, as must one that the file names (which was checked there); the default one need not.
fn plugin_folder(flag: Option<&Path>, file: Option<PathBuf>, complaints: &mut Vec<Complaint>) -> Option<PathBuf> {
    if let Some(path) = flag {
        if !path.is_dir() {
            complaints.push(Complaint::flag("--plugins", format!("{} is not a folder; create it or name another", path.display())));
        }
        return Some(path.to_owned());
    }
    let default = Path::new(DEFAULT_PLUGINS);
    file.or_else(|| default.is_dir().then(|| default.to_owned()))
}

fn cache(named: Option<PathBuf>) -> Cache {
    match named {
        Some(path) if path.file_name().is_some_and(|name| name == "off") => Cache::Off,
        Some(path) => Cache::Named(path),
        None => default_cache().map_or(Cache::Off, Cache::Default),
    }
}

/// `$XDG_CACHE_HOME/watchgate` or `$HOME/.cache/watchgate`.
fn default_cache() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let caches = folder("XDG_CACHE_HOME").filter(|path| path.is_absolute()).or_else(|| folder("HOME").map(|home| home.join(".cache")))?;
    Some(caches.join("watchgate"))
}

/// What the text of a file comes to without flags, mistakes or not.
#[cfg(test)]
pub fn of_text(text: &str) -> Settings {
    let (file, _) = file::parse(text, Path::new(""), &|_| None);
    assemble(&RunArguments::default(), file, &mut Vec::new())
}

#[cfg(test)]
mod tests;
