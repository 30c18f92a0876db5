//! One address of a server at run time: its connections, and how it fares.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderValue;
use watchgate_telemetry::{self as telemetry, EndpointMetrics, Telemetry};

use crate::ProxyError;
use crate::affinity::Tag;
use crate::balancer::EndpointHealth;
use crate::breaker::{Attempt, Breaker, BreakerState, Forced};
use crate::http2::Http2Connections;
use crate::pool::Pool;
use crate::server_config::{EndpointConfig, ServerConfig};
use crate::tls::client::UpstreamTlsState;

/// One endpoint.
pub(crate) struct Endpoint {
    /// Its place among the server's.
    pub(crate) index: usize,
    pub(crate) config: EndpointConfig,
    /// The authority of its URL, as in logs and labels.
    pub(crate) authority: Arc<str>,
    /// `Host` for requests that come without one, and for the gateway's own.
    pub(crate) host: HeaderValue,
    pub(crate) pool: Pool,
    pub(crate) http2: Http2Connections,
    /// For an `https` URL.
    pub(crate) tls: Option<Arc<UpstreamTlsState>>,
    pub(crate) health: Arc<EndpointHealth>,
    pub(crate) breaker: Arc<Breaker>,
    pub(crate) metrics: Arc<EndpointMetrics>,
    /// What session ids of it carry, where the server has several.
    pub(crate) tag: Tag,
}

impl Endpoint {
    /// Builds it; opens nothing. What is known of the endpoint of an earlier configuration is carried over.
    ///
    /// # Errors
    /// When its authority is not legal in a `Host` header.
    pub(crate) fn build(
        index: usize,
        server: &ServerConfig,
        tls: Option<&Arc<UpstreamTlsState>>,
        earlier: Option<&Self>,
        keeps_breaker: bool,
        telemetry: &Telemetry,
    ) -> Result<Self, ProxyError> {
        let now = Instant::now();
        let config = server.endpoints[index].clone();
        // What it has seen counts on where it is told the same.
        let known = earlier.filter(|_| keeps_breaker).map(|earlier| earlier.breaker.clone());
        let breaker = known.unwrap_or_else(|| {
            let breaker = Breaker::new(server.breaker.clone(), now);
            if let Some(forced) = earlier.map(|earlier| earlier.breaker.forced()).filter(|forced| *forced != Forced::None) {
                breaker.force(forced);
            }
            Arc::new(breaker)
        });
        Ok(Self {
            index,
            authority: config.authority.as_str().into(),
            host: HeaderValue::from_str(&config.authority)?,
            pool: Pool::new(server.limits.idle_connections, server.timeouts.pool_idle),
            http2: Http2Connections::default(),
            tls: tls.filter(|_| config.tls).cloned(),
            health: earlier.map_or_else(|| Arc::new(EndpointHealth::new(now)), |earlier| earlier.health.clone()),
            breaker,
            metrics: telemetry.endpoint(&server.name, &config.authority),
            tag: Tag::of(&config.authority),
            config,
        })
    }

    /// Drops connections that are too old, and says how it fares.
    pub(crate) fn sweep(&self, server: &ServerConfig) {
        self.pool.sweep();
        self.http2.sweep(server.timeouts.pool_idle);
        let now = Instant::now();
        self.metrics.ejected(self.health.is_ejected(now));
        self.show_breaker(now);
    }

    /// An answer broke off after its head had counted as good.
    pub(crate) fn note_broken(&self) {
        let now = Instant::now();
        if let Ok(admitted) = self.breaker.enter(now)
            && admitted.note(now, Attempt::Failed).is_some()
        {
            self.show_breaker(now);
        }
    }

    /// The breaker's state as a metric.
    pub(crate) fn show_breaker(&self, now: Instant) {
        self.metrics.breaker(match self.breaker.state(now) {
            BreakerState::Closed => telemetry::BreakerState::Closed,
            BreakerState::Open => telemetry::BreakerState::Open,
            BreakerState::HalfOpen => telemetry::BreakerState::HalfOpen,
        });
    }
}
