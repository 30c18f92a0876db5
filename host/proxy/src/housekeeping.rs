//! What is done beside traffic, every second: idle connections, operations and sessions end, certificates are read again, endpoints come back,
//! and the keys of tokens are shown.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use watchgate_telemetry::{CertificateMetrics, CertificateReload, JwksInUse};

use crate::ProxyControl;
use crate::server::Phase;
use crate::tls::client::UpstreamTlsState;
use crate::tls::reloaded::Refreshed;
use crate::tls::server::ServerTlsState;

const ROUND: Duration = Duration::from_secs(1);

/// A certificate in use: whose, and where it is from.
enum Certificate {
    Listener(Arc<ServerTlsState>),
    Client(Arc<UpstreamTlsState>),
}

/// Goes on until the streams are ended.
pub(crate) async fn keep(control: Arc<ProxyControl>) {
    let shared = &control.shared;
    let mut phase = shared.phase.subscribe();
    let mut shown: HashMap<String, Arc<CertificateMetrics>> = HashMap::new();
    loop {
        let plan = shared.plan.load_full();
        for server in &plan.servers {
            for endpoint in &server.endpoints {
                endpoint.sweep(&server.config);
            }
            // Every round, since a probe may have been under way when they were switched off.
            if !server.is_probed_by_endpoint() {
                server.endpoints.iter().for_each(|endpoint| endpoint.forget_probes());
            }
        }
        shared.abandon(shared.pending.expire(Instant::now()));
        shared.end_idle_sessions();
        refresh_certificates(&control, &mut shown).await;
        // Not where they are loaded: that is also done for configurations that are then refused.
        shared.telemetry.emit(JwksInUse { keys: control.jwks().map(|jwks| (jwks.keys, jwks.loaded)) });
        let over = phase.wait_for(|phase| *phase == Phase::EndStreams);
        if timeout(ROUND, over).await.is_ok() {
            return;
        }
    }
}

/// Reads certificates again whose files have changed, and shows until when they are good.
async fn refresh_certificates(control: &ProxyControl, shown: &mut HashMap<String, Arc<CertificateMetrics>>) {
    let mut used = Vec::new();
    for (address, tls) in control.listeners.tls() {
        used.push((format!("listener {address}"), Certificate::Listener(tls)));
    }
    for server in &control.shared.plan.load().servers {
        if let Some(tls) = server.endpoints.iter().find_map(|endpoint| endpoint.tls.as_ref()) {
            used.push((format!("server {}", server.name), Certificate::Client(tls.clone())));
        }
    }
    if used.is_empty() && shown.is_empty() {
        return;
    }
    // Files are read where blocking hurts nobody. A panic there was logged by the runtime, and the next round tries again.
    let refreshing = tokio::task::spawn_blocking(move || {
        let refresh = |(name, certificate): (String, Certificate)| {
            let refreshed = match &certificate {
                Certificate::Listener(tls) => tls.refresh(),
                Certificate::Client(tls) => tls.refresh(),
            };
            (name, certificate, refreshed)
        };
        used.into_iter().map(refresh).collect::<Vec<_>>()
    });
    let Ok(refreshed) = refreshing.await else { return };
    shown.retain(|name, _| refreshed.iter().any(|(used, ..)| used == name));
    for (name, certificate, refreshed) in refreshed {
        let not_after = match &certificate {
            Certificate::Listener(tls) => Some(tls.not_after()),
            Certificate::Client(tls) => tls.not_after(),
        };
        let metrics = shown.entry(name.clone()).or_insert_with(|| control.shared.telemetry.certificate(&name));
        // A server that is shown no certificate has authorities that can change.
        if let Some(not_after) = not_after {
            metrics.not_after(not_after);
        }
        match refreshed {
            Refreshed::Unchanged => {}
            Refreshed::Replaced => {
                tracing::info!(certificate = name, "a changed certificate is in use");
                metrics.reloaded(CertificateReload::Replaced);
            }
            Refreshed::Failed(error) => {
                tracing::error!(certificate = name, %error, "a changed certificate cannot be used; the one before stays");
                metrics.reloaded(CertificateReload::Failed);
            }
        }
    }
}
