//! What the gateway decided about the requests for one server: limits, retries, credentials.

use prometheus::IntCounter;

use crate::families::Families;
use crate::words::{AuthResult, CounterByWord, Limit, Retry};

/// Counters that all exist from the start, so that the first refusal is seen as a rise.
pub(super) struct Decisions {
    limited: CounterByWord<Limit>,
    rate_limited: IntCounter,
    concurrency_limited: IntCounter,
    streams_limited: IntCounter,
    retries: CounterByWord<Retry>,
    auth: CounterByWord<AuthResult>,
}

impl Decisions {
    pub fn new(families: &Families, server: &str) -> Self {
        Self {
            limited: CounterByWord::new(|limit| families.limited.with(&[server, limit])),
            rate_limited: families.rate_limited.with(&[server]),
            concurrency_limited: families.concurrency_limited.with(&[server]),
            streams_limited: families.streams_limited.with(&[server]),
            retries: CounterByWord::new(|result| families.upstream_retries.with(&[server, result])),
            auth: CounterByWord::new(|result| families.auth.with(&[server, result])),
        }
    }

    pub fn limited(&self, limit: Limit) {
        self.limited.count(limit);
        match limit {
            Limit::Rate => self.rate_limited.inc(),
            Limit::Concurrency => self.concurrency_limited.inc(),
            Limit::Streams => self.streams_limited.inc(),
            Limit::RequestSize | Limit::RequestHeaders | Limit::AnswerSize | Limit::HeldBytes => {}
        }
    }

    pub fn retried(&self, retry: Retry) {
        self.retries.count(retry);
    }

    pub fn authenticated(&self, result: AuthResult) {
        self.auth.count(result);
    }
}
