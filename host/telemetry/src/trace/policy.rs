//! Which exchanges are traced: a share of them from the beginning, and at the end those that failed or were slow.

use std::time::Duration;

use super::config::{Exporter, TracesConfig};
use super::context::TraceParent;
use super::ids::TraceId;

/// What speaks for keeping the trace of an exchange that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceInterest {
    /// It was chosen when it began.
    pub head_sampled: bool,
    /// `X-Debug-Trace` asked for it.
    pub forced: bool,
    /// It failed.
    pub error: bool,
    /// It was slow.
    pub slow: bool,
}

/// The decisions that the proxy asks for. Cheap: numbers only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TracePolicy {
    /// A trace is chosen when 63 bits of its id are below this.
    below: u64,
    parent_based: bool,
    slow: Duration,
    debug_header: bool,
    exports: bool,
    export_errors: bool,
    export_slow: bool,
    stores: bool,
    captures: bool,
}

/// One more than the greatest number of 63 bits.
const ALL: u64 = 1 << 63;

impl TracePolicy {
    /// The policy of a configuration; a ratio that is no number counts as 0, one outside 0 to 1 as the nearer of them.
    pub fn new(config: &TracesConfig) -> Self {
        Self {
            below: share(config.ratio),
            parent_based: config.parent_based,
            slow: config.slow,
            debug_header: config.debug_header,
            exports: config.exporter != Exporter::None,
            export_errors: config.export_errors,
            export_slow: config.export_slow,
            stores: config.recent.count > 0 && config.recent.bytes > 0,
            captures: false,
        }
    }

    /// The same, where what messages say is recorded beside traces.
    #[must_use]
    pub const fn capturing(self, captures: bool) -> Self {
        Self { captures, ..self }
    }

    /// Whether there may be a use for the record of an exchange; where not, nothing need be noted during one.
    pub const fn is_on(&self) -> bool {
        self.exports || self.stores || self.captures
    }

    /// Whether an exchange is traced, decided when it begins: as the parent was, if there is one, else by a share of the trace
    /// ids, which every gateway and SDK with the same ratio decides alike.
    pub fn head_sampled(&self, trace_id: &TraceId, parent: Option<&TraceParent>) -> bool {
        match parent {
            Some(parent) if self.parent_based => parent.sampled,
            Some(_) | None => {
                let bytes = trace_id.to_bytes();
                let low = u64::from_be_bytes(bytes[8..].try_into().expect("half of 16 bytes are 8"));
                (low >> 1) < self.below
            }
        }
    }

    /// Whether clients may ask for a trace by `X-Debug-Trace`.
    pub const fn takes_debug_header(&self) -> bool {
        self.debug_header
    }

    /// From when on an exchange is slow.
    pub const fn slow(&self) -> Duration {
        self.slow
    }

    /// Whether an exchange that took so long is slow.
    pub fn is_slow(&self, duration: Duration) -> bool {
        duration >= self.slow
    }

    /// Whether there is a use for the record of an exchange; where not, it is not built.
    pub const fn keeps(&self, interest: TraceInterest) -> bool {
        let TraceInterest { head_sampled, forced, error, slow } = interest;
        self.exports(interest) || (self.stores && (head_sampled || forced || error || slow))
    }

    /// Whether it is exported.
    pub const fn exports(&self, interest: TraceInterest) -> bool {
        let TraceInterest { head_sampled, forced, error, slow } = interest;
        self.exports && (head_sampled || forced || (error && self.export_errors) || (slow && self.export_slow))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "the ratio is between 0 and 1")]
fn share(ratio: f64) -> u64 {
    let ratio = if ratio.is_nan() { 0.0 } else { ratio.clamp(0.0, 1.0) };
    (ratio * ALL as f64) as u64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{TraceInterest, TracePolicy};
    use crate::trace::{Exporter, RecentConfig, SpanId, TraceId, TraceParent, TracesConfig};

    fn policy(ratio: f64) -> TracePolicy {
        TracePolicy::new(&TracesConfig { ratio, ..TracesConfig::default() })
    }

    #[test]
    fn the_share_of_ids_is_the_ratio() {
        let ids: Vec<TraceId> = (0..20_000).map(|_| TraceId::random()).collect();
        let check = |ratio: f64, low: usize, high: usize| {
            let chosen = ids.iter().filter(|id| policy(ratio).head_sampled(id, None)).count();
            assert!((low..=high).contains(&chosen), "{ratio}: {chosen}");
        };
        check(0.0, 0, 0);
        check(-1.0, 0, 0);
        check(f64::NAN, 0, 0);
        check(0.1, 1700, 2300);
        check(0.5, 9500, 10_500);
        check(1.0, 20_000, 20_000);
        check(f64::INFINITY, 20_000, 20_000);
    }

    #[test]
    fn the_parent_decides_unless_configured_otherwise() {
        let check = |parent_based: bool, ratio: f64, sampled: bool, expected: bool| {
            let policy = TracePolicy::new(&TracesConfig { ratio, parent_based, ..TracesConfig::default() });
            let parent = TraceParent::new(TraceId::random(), SpanId::random(), sampled);
            assert_eq!(policy.head_sampled(&parent.trace_id, Some(&parent)), expected, "{parent_based} {ratio} {sampled}");
        };
        check(true, 0.0, true, true);
        check(true, 1.0, false, false);
        check(false, 0.0, true, false);
        check(false, 1.0, false, true);
    }

    /// What is kept and exported for interest in the order head sampled, forced, error, slow.
    fn check(exporter: Exporter, count: usize, export_errors: bool, export_slow: bool, kept: [bool; 4], exported: [bool; 4]) {
        let recent = RecentConfig { count, bytes: 1024 };
        let policy = TracePolicy::new(&TracesConfig { exporter, recent, export_errors, export_slow, ..TracesConfig::default() });
        let none = TraceInterest::default();
        let interests = [
            TraceInterest { head_sampled: true, ..none },
            TraceInterest { forced: true, ..none },
            TraceInterest { error: true, ..none },
            TraceInterest { slow: true, ..none },
        ];
        assert_eq!(interests.map(|interest| policy.keeps(interest)), kept, "{exporter:?} {count}");
        assert_eq!(interests.map(|interest| policy.exports(interest)), exported, "{exporter:?} {count}");
        assert!(!policy.keeps(none) && !policy.exports(none));
        assert_eq!(policy.is_on(), kept.contains(&true));
    }

    #[test]
    fn what_is_kept_has_a_use() {
        let (all, nothing) = ([true; 4], [false; 4]);
        check(Exporter::None, 10, true, true, all, nothing);
        check(Exporter::None, 0, true, true, nothing, nothing);
        check(Exporter::Console, 10, true, true, all, all);
        check(Exporter::Console, 10, false, true, all, [true, true, false, true]);
        check(Exporter::Console, 0, true, false, [true, true, true, false], [true, true, true, false]);
        let nowhere = TracesConfig { recent: RecentConfig { count: 0, bytes: 0 }, ..TracesConfig::default() };
        let capturing = TracePolicy::new(&nowhere).capturing(true);
        assert!(capturing.is_on() && !capturing.keeps(TraceInterest { error: true, ..TraceInterest::default() }));
    }

    #[test]
    fn slow_begins_at_the_threshold() {
        let policy = TracePolicy::new(&TracesConfig { slow: Duration::from_millis(300), ..TracesConfig::default() });
        assert_eq!([299, 300, 301].map(|ms| policy.is_slow(Duration::from_millis(ms))), [false, true, true]);
        assert!(!TracePolicy::new(&TracesConfig { slow: Duration::MAX, ..TracesConfig::default() }).is_slow(Duration::from_secs(1 << 40)));
    }
}
