//! `watchgate_http_*` of one server: found by (status, method, outcome) in a table that fills itself.

use std::sync::OnceLock;

use prometheus::Histogram;

use super::{KnownNames, LazyCounter};
use crate::core::{Core, OUTCOMES};
use crate::facts::{ExchangeFinished, HttpMethod};
use crate::http_status;

const METHODS: usize = HttpMethod::ALL.len();
/// One more than the numbered outcomes, for those beyond.
const ROW: usize = METHODS * (OUTCOMES + 1);

pub(super) struct ExchangeSeries {
    /// By status; then by method and outcome. A row is made when its status first occurs.
    requests: [OnceLock<Box<[LazyCounter; ROW]>>; http_status::COUNT],
    durations: [OnceLock<Histogram>; METHODS],
}

impl ExchangeSeries {
    pub fn new() -> Self {
        Self { requests: [const { OnceLock::new() }; http_status::COUNT], durations: [const { OnceLock::new() }; METHODS] }
    }

    pub fn record(&self, core: &Core, names: &KnownNames, fact: &ExchangeFinished<'_>) {
        let (owner, server) = (names.owner(), names.server());
        let method = fact.http_method;
        let status = http_status::number(fact.status);
        let outcome = core.outcomes.number(fact.outcome);
        let row = self.requests[status].get_or_init(|| Box::new([const { OnceLock::new() }; ROW]));
        row[method as usize * (OUTCOMES + 1) + outcome]
            .get_or_init(|| {
                let values = [server, method.as_str(), http_status::label(status), core.outcomes.text(outcome)];
                core.families.http_requests.owned(owner, &values)
            })
            .inc();
        self.durations[method as usize]
            .get_or_init(|| core.families.http_request_duration.owned(owner, &[server, method.as_str()]))
            .observe(fact.duration.as_secs_f64());
    }
}
