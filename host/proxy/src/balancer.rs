//! Which of several endpoints gets the next exchange: least outstanding of two random choices, ejection, slow start.

mod health;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

pub(crate) use crate::balancer::health::{EndpointHealth, Outstanding};
use crate::server_config::EjectionConfig;

/// The endpoints of one server. Choosing takes no lock and allocates nothing.
pub(crate) struct Balancer {
    endpoints: Box<[Arc<EndpointHealth>]>,
    ejection: EjectionConfig,
    slow_start: Duration,
    /// How many may be ejected at once; never all.
    most_ejected: usize,
    /// Held while one is ejected, so that two that fail at once do not both take the last place.
    ejecting: Mutex<()>,
}

impl Balancer {
    /// For these endpoints, in the order of the configuration. Those of an earlier configuration may be carried over with what is known
    /// of them; where more are ejected than may be, the surplus is let back.
    pub(crate) fn new(endpoints: Vec<Arc<EndpointHealth>>, ejection: EjectionConfig, slow_start: Duration, now: Instant) -> Self {
        let count = endpoints.len();
        // The tiny addition makes 0.29 of 100 endpoints 29, which it is not in binary.
        let share = (ejection.max_share.clamp(0.0, 1.0) * count as f64 + 1e-9) as usize;
        let balancer = Self {
            endpoints: endpoints.into(),
            ejection,
            slow_start,
            most_ejected: share.min(count.saturating_sub(1)),
            ejecting: Mutex::new(()),
        };
        let surplus = balancer.ejected(now).saturating_sub(balancer.most_ejected);
        for endpoint in balancer.endpoints.iter().filter(|endpoint| endpoint.is_ejected(now)).take(surplus) {
            endpoint.let_back(now);
        }
        balancer
    }

    /// What is known of one of them.
    pub(crate) fn health(&self, index: usize) -> &Arc<EndpointHealth> {
        &self.endpoints[index]
    }

    /// An endpoint for the next exchange. `random(n)` is evenly distributed below `n`; `exclude` are endpoints that were tried already;
    /// `usable` says whether the breaker of an endpoint would let an exchange through.
    ///
    /// Those that are ejected or excluded are passed over as long as others are usable: better a doubtful one than none. `None` only when
    /// none is usable.
    pub(crate) fn choose(
        &self,
        now: Instant,
        mut random: impl FnMut(usize) -> usize,
        exclude: &[usize],
        usable: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let count = self.endpoints.len();
        if count < 2 {
            return (count == 1 && usable(0)).then_some(0);
        }
        let is_new = |index: usize| !exclude.contains(&index);
        let is_fine = |index: usize| is_new(index) && !self.endpoints[index].is_ejected(now) && usable(index);
        // Nearly always both are, and nobody else needs a look.
        let first = random(count);
        let second = (first + 1 + random(count - 1)) % count;
        if is_fine(first) && is_fine(second) {
            return Some(self.less_loaded(first, second, now, random));
        }
        self.choose_among(is_fine, now, &mut random)
            .or_else(|| self.choose_among(|index| is_new(index) && usable(index), now, &mut random))
            .or_else(|| self.choose_among(usable, now, &mut random))
    }

    /// An exchange with an endpoint went well.
    pub(crate) fn note_success(&self, index: usize) {
        self.endpoints[index].note_success();
    }

    /// An exchange with an endpoint failed, or no connection could be opened. Says for how long it is ejected, if that was one too many.
    pub(crate) fn note_failure(&self, index: usize, now: Instant) -> Option<Duration> {
        let endpoint = &self.endpoints[index];
        // What began before it was ejected is not held against it once it is back.
        if endpoint.is_ejected(now) || endpoint.note_failure() < self.ejection.consecutive_failures {
            return None;
        }
        let _one_at_a_time = self.ejecting.lock();
        if endpoint.is_ejected(now) || self.ejected(now) >= self.most_ejected {
            return None;
        }
        Some(endpoint.eject(self.ejection.base, now))
    }

    /// What the active probe of an endpoint found. One that is down is ejected until it is up again. Says whether that changed anything;
    /// one that may not be ejected because too many are has its next chance with the next probe.
    pub(crate) fn note_probe(&self, index: usize, up: bool, now: Instant) -> bool {
        let endpoint = &self.endpoints[index];
        if up != endpoint.is_probed_down() {
            return false;
        }
        let _one_at_a_time = self.ejecting.lock();
        if !up && !endpoint.is_ejected(now) && self.ejected(now) >= self.most_ejected {
            return false;
        }
        endpoint.note_probe(up, now);
        true
    }

    /// How many endpoints are ejected.
    pub(crate) fn ejected(&self, now: Instant) -> usize {
        self.endpoints.iter().filter(|endpoint| endpoint.is_ejected(now)).count()
    }

    /// Two of those that `may` take it, evenly, and then the less loaded of them. One pass, so `may` is asked once for each.
    fn choose_among(&self, may: impl Fn(usize) -> bool, now: Instant, mut random: impl FnMut(usize) -> usize) -> Option<usize> {
        let mut drawn = [None; 2];
        for (seen, index) in (0..self.endpoints.len()).filter(|index| may(*index)).enumerate() {
            let place = if seen < 2 { seen } else { random(seen + 1) };
            if let Some(drawn) = drawn.get_mut(place) {
                *drawn = Some(index);
            }
        }
        match drawn {
            [Some(first), Some(second)] if random(2) == 0 => Some(self.less_loaded(first, second, now, random)),
            [Some(first), Some(second)] => Some(self.less_loaded(second, first, now, random)),
            [only, _] => only,
        }
    }

    /// The one with fewer exchanges under way; `first` when they are equal. Where they are not equally far in their slow start, it is a
    /// lottery in which each has tickets by its share of full traffic for each exchange it would have: a strict choice would give an
    /// endpoint that comes back nothing at all while the others are idle, and its full part once they are not.
    fn less_loaded(&self, first: usize, second: usize, now: Instant, mut random: impl FnMut(usize) -> usize) -> usize {
        let [one, other] = [first, second].map(|index| &*self.endpoints[index]);
        let [one_load, other_load] = [one, other].map(|endpoint| endpoint.outstanding() as usize + 1);
        let [one_share, other_share] = [one, other].map(|endpoint| endpoint.percent(self.slow_start, now));
        let is_first = if one_share == other_share {
            one_load <= other_load
        } else {
            let tickets = one_share * other_load;
            random(tickets + other_share * one_load) < tickets
        };
        if is_first { first } else { second }
    }
}

#[cfg(test)]
mod tests;
