//! One address of a server at run time: its connections, and how it fares.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderValue;
use watchgate_telemetry::{self as telemetry, EndpointMetrics, Telemetry, UpstreamCause};

use crate::ProxyError;
use crate::affinity::Tag;
use crate::balancer::{Balancer, EndpointHealth};
use crate::breaker::{Admitted, Attempt, Breaker, BreakerState, Forced};
use crate::http2::Http2Connections;
use crate::lease::result_of;
use crate::pool::Pool;
use crate::seldom::Seldom;
use crate::server_config::{EndpointConfig, ServerConfig};
use crate::tls::client::UpstreamTlsState;

/// One endpoint.
pub(crate) struct Endpoint {
    /// Its place among the server's.
    pub(crate) index: usize,
    pub(crate) config: EndpointConfig,
    /// The name of its server.
    server: Arc<str>,
    /// Of its server.
    balancer: Arc<Balancer>,
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
    trouble: Seldom,
}

impl Endpoint {
    /// Builds it; opens nothing. What is known of the breaker of an earlier configuration is carried over.
    ///
    /// # Errors
    /// When its authority is not legal in a `Host` header.
    pub(crate) fn build(
        index: usize,
        server: &ServerConfig,
        balancer: &Arc<Balancer>,
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
            server: server.name.as_str().into(),
            authority: config.authority.as_str().into(),
            host: HeaderValue::from_str(&config.authority)?,
            pool: Pool::new(server.limits.idle_connections, server.timeouts.pool_idle),
            http2: Http2Connections::default(),
            tls: tls.filter(|_| config.tls).cloned(),
            health: balancer.health(index).clone(),
            balancer: balancer.clone(),
            breaker,
            metrics: telemetry.endpoint(&server.name, &config.authority),
            tag: Tag::of(&config.authority),
            trouble: Seldom::default(),
            config,
        })
    }

    /// Drops connections that are too old, and says how it fares.
    pub(crate) fn sweep(&self, server: &ServerConfig) {
        self.pool.sweep();
        self.http2.sweep(server.timeouts.pool_idle);
        let now = Instant::now();
        let is_ejected = self.health.is_ejected(now);
        if self.metrics.ejected(is_ejected) && !is_ejected {
            tracing::info!(server = %self.server, endpoint = %self.authority, "an endpoint is no longer passed over");
        }
        self.show_breaker(now);
    }

    /// Takes in how an exchange with it ended, for everybody who judges it by that.
    pub(crate) fn note(&self, admitted: Admitted, attempt: Attempt) {
        let now = Instant::now();
        if let Some(state) = admitted.note(now, attempt) {
            tracing::warn!(server = %self.server, endpoint = %self.authority, state = state.as_str(), "the circuit breaker of an endpoint changed");
            self.show_breaker(now);
        }
        match attempt {
            Attempt::Ok => self.balancer.note_success(self.index),
            Attempt::Abandoned | Attempt::Stale => {}
            Attempt::Failed | Attempt::ConnectFailed | Attempt::GivenUp => {
                if let Some(duration) = self.balancer.note_failure(self.index, now) {
                    tracing::warn!(
                        server = %self.server, endpoint = %self.authority, ?duration, "an endpoint is passed over: it failed too often in a row"
                    );
                    self.metrics.ejected(true);
                }
            }
        }
        // Whoever sees the count finds all else done.
        self.metrics.request_ended(result_of(attempt));
    }

    /// Takes in what a probe found.
    pub(crate) fn note_probe(&self, answered: bool) {
        let now = Instant::now();
        self.metrics.up(answered);
        if self.balancer.note_probe(self.index, answered, now) {
            let is_ejected = self.health.is_ejected(now);
            self.metrics.ejected(is_ejected);
            if answered {
                tracing::info!(server = %self.server, endpoint = %self.authority, passed_over = is_ejected, "an endpoint answers probes again");
            } else {
                tracing::warn!(server = %self.server, endpoint = %self.authority, "an endpoint is passed over: it does not answer probes");
            }
        }
    }

    /// It is not probed: what was found before is not held against an endpoint that nobody would let back.
    pub(crate) fn forget_probes(&self) {
        self.metrics.up_unknown();
        self.balancer.note_probe(self.index, true, Instant::now());
    }

    /// A connection to it that was used again was closed under a request.
    pub(crate) fn note_stale(&self) {
        if let Some(pause) = self.pool.note_stale(Instant::now()) {
            tracing::warn!(
                server = %self.server, endpoint = %self.authority, ?pause,
                "an open connection was closed by the server just when a request began: none is used again for a while"
            );
        }
    }

    /// It brought no answer, or not all of one. Said once in a while.
    pub(crate) fn complain(&self, cause: UpstreamCause, error: &str) {
        if let Some(unsaid) = self.trouble.may_say(Instant::now()) {
            tracing::warn!(
                server = %self.server, endpoint = %self.authority, cause = cause.as_str(), error, unsaid, "an endpoint brought no answer, or not all of one"
            );
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
