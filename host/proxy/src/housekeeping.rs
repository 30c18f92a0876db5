//! What is done beside traffic, every second: idle connections, operations and sessions end, certificates are read again, endpoints are probed,
//! and the keys of tokens are shown.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use watchgate_telemetry::{CertificateMetrics, CertificateReload, JwksInUse};

use crate::ProxyControl;
use crate::connect::open_stream;
use crate::server::{Phase, Server, Shared};
use crate::tls::client::UpstreamTlsState;
use crate::tls::reloaded::Refreshed;
use crate::tls::server::ServerTlsState;

const ROUND: Duration = Duration::from_secs(1);
/// Rounds between two probes of an endpoint.
const PROBE_ROUNDS: u64 = 5;

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
    let mut round = 0;
    loop {
        let plan = shared.plan.load_full();
        for server in &plan.servers {
            for endpoint in &server.endpoints {
                endpoint.sweep(&server.config);
            }
            if !server.config.probe {
                forget_probes(server);
            } else if server.endpoints.len() > 1 && round % PROBE_ROUNDS == 0 {
                tokio::spawn(probe(shared.clone(), server.clone()));
            }
        }
        shared.abandon(shared.pending.expire(Instant::now()));
        shared.end_idle_sessions();
        refresh_certificates(&control, &mut shown).await;
        // Not where they are loaded: that is also done for configurations that are then refused.
        shared.telemetry.emit(JwksInUse { keys: control.jwks().map(|jwks| (jwks.keys, jwks.loaded)) });
        round += 1;
        let over = phase.wait_for(|phase| *phase == Phase::EndStreams);
        if timeout(ROUND, over).await.is_ok() {
            return;
        }
    }
}

/// Opens a connection to each endpoint and closes it again; one that lets nobody in is passed over until it does.
async fn probe(shared: Arc<Shared>, server: Arc<Server>) {
    for endpoint in &server.endpoints {
        let up = open_stream(endpoint, server.config.timeouts.connect).await.is_ok();
        // Another configuration of it may have come meanwhile.
        if !shared.plan.load().servers.iter().any(|current| Arc::ptr_eq(current, &server)) {
            return;
        }
        endpoint.metrics.up(up);
        if server.balancer.note_probe(endpoint.index, up, Instant::now()) {
            tracing::warn!(server = %server.name, endpoint = %endpoint.authority, up, "a probe changed whether an endpoint is passed over");
        }
    }
}

/// What probes found before they were switched off is not held against an endpoint that nobody would let back. Every round, since one may have
/// been under way.
fn forget_probes(server: &Server) {
    for endpoint in &server.endpoints {
        endpoint.metrics.up_unknown();
        server.balancer.note_probe(endpoint.index, true, Instant::now());
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
