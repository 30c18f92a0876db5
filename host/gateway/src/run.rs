//! Wires the rooms together, serves, and takes them down in order.

use std::sync::Arc;

use anyhow::Context;
use tokio::runtime::Handle;
use watchgate_hooks::{HookSet, LiveHooks};
use watchgate_proxy::{Proxy, ProxyError};
use watchgate_telemetry::log::{self, LogHandle};
use watchgate_telemetry::{PushConfigError, Telemetry, TelemetryConfig, TelemetryError, task};

use crate::cli::RunArguments;
use crate::listeners;
use crate::reload::{self, Reloader};
use crate::rooms::{Foundation, Rooms};
use crate::settings::Settings;
use crate::signals;

/// Runs the gateway until it is told to end and has drained. A reload reads the same `arguments` again.
///
/// # Errors
/// When something cannot be started; nothing keeps running then.
pub fn run(arguments: RunArguments, settings: Settings) -> anyhow::Result<()> {
    let log = log::init(&settings.logs.own()).context("the log cannot be set up")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime cannot be started")?;
    let workers = runtime.metrics().num_workers();
    runtime.block_on(serve(arguments, settings, log, workers))
}

/// Whether what could not be started cannot be as it is configured: a file that is named for a part and is of no use to it.
pub fn is_of_configuration(error: &anyhow::Error) -> bool {
    let is_of_telemetry = |error: &TelemetryError| match error {
        TelemetryError::Traces(why) | TelemetryError::Metrics(why) | TelemetryError::Logs(why) => {
            !matches!(why, PushConfigError::Thread(_))
        }
        TelemetryError::AccessLog { .. } => false,
    };
    error.is::<ProxyError>() || error.downcast_ref().is_some_and(is_of_telemetry)
}

async fn serve(arguments: RunArguments, settings: Settings, log: LogHandle, workers: usize) -> anyhow::Result<()> {
    let asked_to_end = signals::watch().context("signals cannot be watched")?;
    let hangups = signals::hangups().context("signals cannot be watched")?;
    let config = TelemetryConfig {
        access_log: settings.logs.access_log.clone(),
        access_log_rotation: settings.logs.rotation,
        access_fields: settings.logs.access_fields.clone(),
        slow_call_threshold: settings.logs.slow_call_threshold,
        log: Some(log.clone()),
        buckets: settings.metrics.buckets.clone(),
        servers: settings.health.servers.clone(),
        traces: settings.traces.finished(settings.logs.slow_call_threshold),
        capture: settings.logs.captured(),
        metrics_push: settings.metrics.otlp.finished(),
        logs_push: settings.logs.otlp.finished(),
    };
    let telemetry = Telemetry::new(config)?;
    let _watched = telemetry.watch_runtime(&Handle::current()).context("the runtime cannot be watched")?;
    // Bound before anything is built, so that a taken port is known at once; accepted from only when plugins have settled.
    let mut sockets = Vec::new();
    for config in &settings.listeners {
        sockets.push((config, listeners::bind(&config.address, "traffic", &[]).await.map_err(anyhow::Error::msg)?));
    }
    let admin = listeners::bind(&settings.admin, "admin", &settings.listeners).await.map_err(anyhow::Error::msg)?;
    let admin_address = admin.local_addr()?;

    let live = Arc::new(LiveHooks::new(HookSet { missing_required: settings.required.clone(), ..HookSet::empty() }));
    let proxy = Proxy::new(settings.proxy.clone(), live.clone(), telemetry.clone())?;
    let control = proxy.control();
    let traffic: Result<Vec<_>, ProxyError> =
        sockets.into_iter().map(|(config, socket)| listeners::prepare(&control, config, socket)).collect();
    let traffic = traffic?;
    let (reloads, requests) = reload::channel();
    let foundation = Foundation { settings: &settings, workers, live: &live, proxy: &proxy, telemetry, log: log.clone(), reloads };
    let rooms = Rooms::start(foundation, admin)?;
    listeners::announce("admin", "http", admin_address);
    if let Some(catalog) = &rooms.catalog {
        // A redaction plugin that is in the folder sees the first message, not the second.
        catalog.first_scan().await;
    }
    rooms.health.set_startup_done();
    proxy.start_housekeeping();
    settings.warn();
    for bound in traffic {
        listeners::open(&control, bound);
    }
    let reloader = Reloader::new(arguments, settings, control, &rooms, log);
    let mut end = asked_to_end.subscribe();
    let not_ready = async {
        // The sender lives as long as the process, so this ends only by a signal.
        let _ = end.wait_for(|asked| *asked).await;
        rooms.health.set_draining();
    };
    // Ends by the same signal: nothing is opened any more once the drain has begun.
    let following = task::named("configuration", "", reloader.follow(requests, hangups, asked_to_end.subscribe()));
    let (settings, ()) = tokio::join!(following, not_ready);
    tokio::time::sleep(settings.proxy.timeouts.drain_delay).await;
    proxy.drain().await;
    rooms.stop().await
}

#[cfg(test)]
mod tests {
    use watchgate_telemetry::{AccessLogTarget, MetricsPushConfig, PushConfig, PushTls};

    use super::*;

    #[test]
    fn a_file_that_is_named_and_not_there_is_a_mistake_of_the_configuration() {
        let check = |config: TelemetryConfig, expected: bool| {
            let error = anyhow::Error::from(Telemetry::new(config).err().unwrap());
            assert_eq!(is_of_configuration(&error), expected, "{error}");
        };
        let tls = PushTls { ca: Some("/no/such/ca.pem".into()), client: None };
        let push = PushConfig { endpoint: "https://127.0.0.1:1".to_owned(), tls, ..MetricsPushConfig::default().push };
        let metrics_push = Some(MetricsPushConfig { push, ..MetricsPushConfig::default() });
        check(TelemetryConfig { metrics_push, ..TelemetryConfig::default() }, true);
        check(
            TelemetryConfig { access_log: AccessLogTarget::File("/no/such/folder/access.log".into()), ..TelemetryConfig::default() },
            false,
        );
        assert!(is_of_configuration(&ProxyError::Auth("the JWKS file".to_owned()).into()));
        assert!(!is_of_configuration(&anyhow::anyhow!("a port is taken")));
    }
}
