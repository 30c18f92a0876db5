//! One endpoint's metrics. Its series are there as long as somebody holds the handle, or until it is retired.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge};

use crate::core::Core;
use crate::names::Label;
use crate::owner::Owner;
use crate::server::InFlightGuard;
use crate::words::{BreakerState, CounterByWord, EndpointResult};

/// Endpoints of all servers together; those past it share `_other`, one for each server.
pub(crate) const MOST_ENDPOINTS: usize = 1000;

/// The metrics of one endpoint of a server. Made by [`crate::Telemetry::endpoint`]; dropping the last handle removes its series.
///
/// Nothing here allocates, and nothing locks but a change of state.
pub struct EndpointMetrics {
    core: Arc<Core>,
    owner: Arc<Owner>,
    server: Box<str>,
    endpoint: Box<str>,
    requests: CounterByWord<EndpointResult>,
    in_flight: IntGauge,
    up: Mutex<Option<IntGauge>>,
    ejected: IntGauge,
    ejections: IntCounter,
    breaker: IntGauge,
    transitions: CounterByWord<BreakerState>,
    /// Held while a state changes, so that gauge and counter tell the same story.
    changing: Mutex<()>,
}

impl EndpointMetrics {
    pub(crate) fn new(core: Arc<Core>, owner: Arc<Owner>, values: [&str; 2]) -> Self {
        let [server, endpoint] = values;
        let families = &core.families;
        let made = Self {
            requests: CounterByWord::new(|result| families.endpoint_requests.with(&[server, endpoint, result])),
            in_flight: families.endpoint_requests_in_flight.with(&values),
            up: Mutex::default(),
            ejected: families.endpoint_ejected.with(&values),
            ejections: families.endpoint_ejections.with(&values),
            breaker: families.circuit_breaker_state.with(&values),
            transitions: CounterByWord::new(|state| families.circuit_breaker_transitions.with(&[server, endpoint, state])),
            changing: Mutex::new(()),
            server: server.into(),
            endpoint: endpoint.into(),
            owner,
            core,
        };
        // The series of a predecessor may have been taken over, whose state is not this one's.
        made.ejected.set(0);
        made.breaker.set(0);
        made
    }

    /// Counts a request as being with the endpoint until the guard is dropped.
    pub fn in_flight(&self) -> InFlightGuard {
        InFlightGuard::new(&self.in_flight)
    }

    /// A request to it ended.
    pub fn request_ended(&self, result: EndpointResult) {
        self.requests.count(result);
    }

    /// Whether it works, as far as is known. There is no series before the first call.
    pub fn up(&self, up: bool) {
        let values = [&*self.server, &*self.endpoint];
        self.up.lock().get_or_insert_with(|| self.core.families.endpoint_up.owned(&self.owner, &values)).set(i64::from(up));
    }

    /// Whether it works is not known any more: the series ends.
    pub fn up_unknown(&self) {
        let mut up = self.up.lock();
        if up.take().is_some() && !self.owner.is_retired() {
            self.core.families.endpoint_up.remove_under(&[&self.server, &self.endpoint]);
        }
    }

    /// Whether it is passed over. Says whether that is news; saying the same again changes nothing.
    pub fn ejected(&self, ejected: bool) -> bool {
        let is_news = self.change(&self.ejected, i64::from(ejected));
        if is_news && ejected {
            self.ejections.inc();
        }
        is_news
    }

    /// The state of its circuit breaker, closed at first. Saying the same again changes nothing.
    pub fn breaker(&self, state: BreakerState) {
        if self.change(&self.breaker, state as i64) {
            self.transitions.count(state);
        }
    }

    /// Removes its series now, though handles may still be held: what they record from now on is shown to nobody. A handle asked
    /// for afterwards starts anew.
    pub fn retire(&self) {
        let values = [&*self.server, &*self.endpoint];
        self.core.endpoints.end(&values, &self.owner, || self.core.families.remove_under(&[Label::Server, Label::Endpoint], &values));
    }

    /// Whether `gauge` had another value.
    fn change(&self, gauge: &IntGauge, value: i64) -> bool {
        if gauge.get() == value {
            return false;
        }
        let _one_at_a_time = self.changing.lock();
        let changes = gauge.get() != value;
        gauge.set(value);
        changes
    }
}

impl Drop for EndpointMetrics {
    fn drop(&mut self) {
        self.retire();
    }
}
