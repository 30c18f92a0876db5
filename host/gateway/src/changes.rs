//! How one configuration differs from another: what is applied, and what waits for the next start. Pure.

use crate::settings::Settings;

/// What is different in `new`, as operators know it: a table of the file, or `servers.NAME`.
pub fn changes(old: &Settings, new: &Settings) -> Vec<String> {
    let (before, after) = (&old.proxy, &new.proxy);
    let tables = [
        ("listeners", old.listeners != new.listeners),
        ("proxy", before.timeouts != after.timeouts || before.limits != after.limits),
        ("clients", before.clients != after.clients),
        ("guard", before.guard != after.guard),
        ("auth", before.auth != after.auth),
        ("logs.level", old.log_level != new.log_level),
        ("health", health_of(old) != health_of(new)),
        ("alerts", old.alerts != new.alerts),
    ];
    let mut changed: Vec<String> = tables.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()).collect();
    let gone = before.servers.iter().filter(|server| after.servers.iter().all(|other| other.name != server.name));
    let different = after.servers.iter().filter(|server| !before.servers.contains(server));
    changed.extend(different.chain(gone).map(|server| format!("servers.{}", server.name)));
    if changed.is_empty() && before.servers != after.servers {
        changed.push("servers".to_owned());
    }
    changed
}

/// Without the list of servers, which follows from another table.
fn health_of(settings: &Settings) -> impl PartialEq + use<> {
    let health = &settings.health;
    (health.probe_interval, health.probe_timeout, health.ready_requires_upstreams)
}

/// The keys that are read at the start only and are different in `new`.
pub fn needs_restart(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let keys = [
        ("admin", old.admin != new.admin),
        ("plugins.folder", old.plugins != new.plugins),
        ("plugins.required", old.required != new.required),
        ("plugins.cache", old.cache != new.cache),
        ("logs.format", old.log_json != new.log_json),
        ("logs.access_log", old.access_log != new.access_log),
    ];
    keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}
