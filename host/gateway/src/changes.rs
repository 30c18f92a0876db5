//! How one configuration differs from another: what is applied, and what waits for the next start. Pure.

use watchgate_telemetry::{BucketGroup, HistogramBuckets, LogsPushConfig, MetricsPushConfig, PushConfig};

use crate::file::logs::LogSettings;
use crate::file::otlp::OtlpSettings;
use crate::file::traces::TraceSettings;
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
        ("logs.level", old.logs.level != new.logs.level),
        ("health", health_of(old) != health_of(new)),
        ("traces", before.propagation != after.propagation),
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
    start_only(old, new).into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

/// Every key that is read at the start only, and whether it is different.
fn start_only(old: &Settings, new: &Settings) -> Vec<(&'static str, bool)> {
    let own = [
        ("admin", old.admin != new.admin),
        ("plugins.folder", old.plugins != new.plugins),
        ("plugins.required", old.required != new.required),
        ("plugins.cache", old.cache != new.cache),
    ];
    own.into_iter()
        .chain(of_logs(&old.logs, &new.logs))
        .chain(of_logs_push(&old.logs.otlp, &new.logs.otlp))
        .chain([("metrics.path", old.metrics.path != new.metrics.path)])
        .chain(of_buckets(&old.metrics.buckets, &new.metrics.buckets))
        .chain(of_metrics_push(&old.metrics.otlp, &new.metrics.otlp))
        .chain(of_traces(&old.traces, &new.traces))
        .collect()
}

fn of_logs(old: &LogSettings, new: &LogSettings) -> [(&'static str, bool); 12] {
    let rotated = |logs: &LogSettings| logs.rotation.map(|rotation| rotation.max_size);
    let kept = |logs: &LogSettings| logs.rotation.map(|rotation| rotation.max_files);
    [
        ("logs.format", old.format != new.format),
        ("logs.output", old.output != new.output),
        ("logs.access_log", old.access_log != new.access_log),
        ("logs.access_fields", old.access_fields != new.access_fields),
        ("logs.max_size", rotated(old) != rotated(new)),
        ("logs.max_files", kept(old) != kept(new)),
        ("logs.slow_call_threshold", old.slow_call_threshold != new.slow_call_threshold),
        ("logs.masked_fields", old.masked != new.masked),
        ("logs.capture", old.capture.0 != new.capture.0),
        ("logs.capture_bytes", old.capture.1 != new.capture.1),
        ("logs.recent_lines", old.recent.lines != new.recent.lines),
        ("logs.recent_bytes", old.recent.bytes != new.recent.bytes),
    ]
}

fn of_buckets(old: &HistogramBuckets, new: &HistogramBuckets) -> impl Iterator<Item = (&'static str, bool)> {
    let keys = [
        ("metrics.buckets.operation", BucketGroup::Operation),
        ("metrics.buckets.http", BucketGroup::Http),
        ("metrics.buckets.overhead", BucketGroup::Overhead),
        ("metrics.buckets.connect", BucketGroup::Connect),
        ("metrics.buckets.plugin", BucketGroup::Plugin),
        ("metrics.buckets.reload", BucketGroup::Reload),
        ("metrics.buckets.session", BucketGroup::Session),
        ("metrics.buckets.bytes", BucketGroup::Bytes),
    ];
    keys.into_iter().map(|(key, group)| (key, old.of(group) != new.of(group)))
}

fn of_logs_push(before: &OtlpSettings<LogsPushConfig>, after: &OtlpSettings<LogsPushConfig>) -> [(&'static str, bool); 11] {
    let (old, new) = (&before.config, &after.config);
    let [endpoint, headers, compression, timeout, ca, certificate, key] = of_push(&old.push, &new.push);
    [
        ("logs.otlp.protocol", before.is_on != after.is_on || old.protocol != new.protocol),
        ("logs.otlp.endpoint", endpoint),
        ("logs.otlp.headers", headers),
        ("logs.otlp.compression", compression),
        ("logs.otlp.timeout", timeout),
        ("logs.otlp.queue", old.queue != new.queue),
        ("logs.otlp.batch", old.batch != new.batch),
        ("logs.otlp.interval", old.interval != new.interval),
        ("logs.otlp.tls.ca", ca),
        ("logs.otlp.tls.certificate", certificate),
        ("logs.otlp.tls.key", key),
    ]
}

fn of_metrics_push(before: &OtlpSettings<MetricsPushConfig>, after: &OtlpSettings<MetricsPushConfig>) -> [(&'static str, bool); 9] {
    let (old, new) = (&before.config, &after.config);
    let [endpoint, headers, compression, timeout, ca, certificate, key] = of_push(&old.push, &new.push);
    [
        ("metrics.otlp.protocol", before.is_on != after.is_on || old.protocol != new.protocol),
        ("metrics.otlp.endpoint", endpoint),
        ("metrics.otlp.headers", headers),
        ("metrics.otlp.compression", compression),
        ("metrics.otlp.timeout", timeout),
        ("metrics.otlp.interval", old.interval != new.interval),
        ("metrics.otlp.tls.ca", ca),
        ("metrics.otlp.tls.certificate", certificate),
        ("metrics.otlp.tls.key", key),
    ]
}

/// Endpoint, headers, compression, timeout; authorities, certificate and key of its TLS.
fn of_push(old: &PushConfig, new: &PushConfig) -> [bool; 7] {
    let client = |push: &PushConfig| push.tls.client.clone().unzip();
    let ((old_certificate, old_key), (new_certificate, new_key)) = (client(old), client(new));
    [
        old.endpoint != new.endpoint,
        old.headers != new.headers,
        old.compression != new.compression,
        old.timeout != new.timeout,
        old.tls.ca != new.tls.ca,
        old_certificate != new_certificate,
        old_key != new_key,
    ]
}

fn of_traces(before: &TraceSettings, after: &TraceSettings) -> [(&'static str, bool); 22] {
    let (old, new) = (&before.config, &after.config);
    let [endpoint, headers, compression, timeout, ca, certificate, key] = of_push(&old.push, &new.push);
    [
        ("traces.exporter", before.exporter.unwrap_or_default() != after.exporter.unwrap_or_default()),
        ("traces.endpoint", endpoint),
        ("traces.headers", headers),
        ("traces.compression", compression),
        ("traces.timeout", timeout),
        ("traces.queue", old.queue != new.queue),
        ("traces.batch", old.batch != new.batch),
        ("traces.interval", old.interval != new.interval),
        ("traces.ratio", old.ratio != new.ratio),
        ("traces.parent_based", old.parent_based != new.parent_based),
        ("traces.export_errors", old.export_errors != new.export_errors),
        ("traces.export_slow", old.export_slow != new.export_slow),
        ("traces.slow", before.slow != after.slow),
        ("traces.debug_header", old.debug_header != new.debug_header),
        ("traces.service_name", old.service_name != new.service_name),
        ("traces.service_version", old.service_version != new.service_version),
        ("traces.resource", old.resource != new.resource),
        ("traces.recent_count", old.recent.count != new.recent.count),
        ("traces.recent_bytes", old.recent.bytes != new.recent.bytes),
        ("traces.tls.ca", ca),
        ("traces.tls.certificate", certificate),
        ("traces.tls.key", key),
    ]
}

#[cfg(test)]
mod tests {
    use watchgate_settings::SECTIONS;

    use super::*;
    use crate::settings::of_text;

    /// Two files as one text each; what has changed, and what waits for a restart.
    fn check(old: &str, new: &str, changed: &[&str], waiting: &[&str]) {
        let (old, new) = (of_text(old), of_text(new));
        assert_eq!(changes(&old, &new.clone().with_start_only_of(&old)), changed);
        assert_eq!(needs_restart(&old, &new), waiting);
    }

    #[test]
    fn what_is_different_is_named_as_in_the_file() {
        let a = "[servers.a]\nurl = \"http://a\"\n";
        let b = "[servers.b]\nurl = \"http://b\"\n";
        check(a, a, &[], &[]);
        check(a, &format!("{a}{b}"), &["servers.b"], &[]);
        check(&format!("{a}{b}"), b, &["servers.a"], &[]);
        check(&format!("{a}{b}"), &format!("{b}{a}"), &["servers"], &[]);
        check(a, &format!("{a}retry.max = 0\n"), &["servers.a"], &[]);
        check(a, &format!("{a}[proxy]\nhead_timeout = \"1s\"\n"), &["servers.a"], &[]);
        check(a, &format!("{a}[proxy]\ndrain_delay = \"1s\"\nmax_sessions = 5\n"), &["proxy"], &[]);
        check(a, &format!("listen = \"127.0.0.1:1\"\n{a}"), &["listeners"], &[]);
        check(a, &format!("{a}[clients]\ntrusted_hops = 1\n[guard]\nhosts = [\"*\"]\n"), &["clients", "guard"], &[]);
        check(a, &format!("{a}[health]\nprobe_interval = \"1s\"\n[alerts]\nrepeat_interval = \"1h\"\n"), &["health", "alerts"], &[]);
        check(a, &format!("{a}[traces]\nmeta = \"add\"\n"), &["traces"], &[]);
        // `auto` follows the exporter that runs.
        check(a, &format!("{a}[traces]\nexporter = \"console\"\n"), &[], &["traces.exporter"]);
        let start = "admin = \"127.0.0.1:1\"\n[plugins]\nrequired = [\"p\"]\ncache = \"off\"\n[logs]\nlevel = \"warn\"\nformat = \"json\"\naccess_log = \"off\"\nmax_size = \"1MiB\"\n[metrics.buckets]\nhttp = [1]\n";
        let waiting = [
            "admin",
            "plugins.required",
            "plugins.cache",
            "logs.format",
            "logs.access_log",
            "logs.max_size",
            "logs.max_files",
            "metrics.buckets.http",
        ];
        check(a, &format!("{start}{a}"), &["logs.level"], &waiting);
    }

    #[test]
    fn the_keys_that_are_read_at_the_start_only_are_those_of_the_table() {
        let settings = of_text("");
        let ours: Vec<&str> = start_only(&settings, &settings).iter().map(|(key, _)| *key).collect();
        let keys = SECTIONS.iter().flat_map(|section| section.keys.iter().map(move |key| (section, key)));
        let of_table: Vec<String> =
            keys.filter(|(_, key)| key.needs_restart).map(|(section, key)| format!("{}{}", section.prefix, key.name)).collect();
        assert_eq!(ours, of_table);
    }
}
