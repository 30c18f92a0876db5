//! Trace context as W3C defines it, read from HTTP headers or from `params._meta` and written for the next hop. Pure functions.
//!
//! <https://www.w3.org/TR/trace-context/> and <https://www.w3.org/TR/baggage/>. A value that cannot be right is left out, and the
//! caller is told why so that it can be counted; it never makes a request fail.

mod list;
mod trace_parent;

use super::ids::{SpanId, TraceId};
use crate::words::InvalidTraceContext;
pub use trace_parent::{TraceParent, TraceParentText};

/// `tracestate` values up to this length are passed on, bytes; W3C asks for at least so many.
const LONGEST_TRACESTATE: usize = 512;
/// W3C allows no more members in `tracestate`.
const MOST_TRACESTATE_MEMBERS: usize = 32;
/// `baggage` values up to this length are passed on, bytes; W3C asks for at least so many.
const LONGEST_BAGGAGE: usize = 8192;
/// `baggage` values with up to so many members are passed on; W3C asks for at least so many.
const MOST_BAGGAGE_MEMBERS: usize = 64;

/// What one hop hands on to the next. The texts stand as they came, and are fit for an HTTP header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// The caller's span.
    pub parent: Option<TraceParent>,
    /// Vendors' data about the trace; only with a parent.
    pub tracestate: Option<Box<str>>,
    /// The application's data; with or without a parent.
    pub baggage: Option<Box<str>>,
}

/// What was wrong with the values of one request: for each of them at most one reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InvalidContexts([Option<InvalidTraceContext>; 3]);

impl InvalidContexts {
    /// Whether all was right.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

impl IntoIterator for InvalidContexts {
    type Item = InvalidTraceContext;
    type IntoIter = std::iter::Flatten<std::array::IntoIter<Option<InvalidTraceContext>, 3>>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().flatten()
    }
}

impl TraceContext {
    /// Reads the values of `traceparent`, `tracestate` and `baggage`: of HTTP headers each line in order, of `_meta` the one
    /// string (an `Option<&[u8]>` will do). Does not allocate when all are absent.
    pub fn read<'a>(
        traceparent: impl IntoIterator<Item = &'a [u8]>,
        tracestate: impl IntoIterator<Item = &'a [u8]>,
        baggage: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Self, InvalidContexts) {
        let (parent, bad_parent) = split(trace_parent::read(traceparent));
        let (tracestate, bad_state) = match parent {
            // Without a parent there is nothing that it could be the state of.
            None => (None, None),
            Some(_) => split(list::read(tracestate, &list::TRACESTATE)),
        };
        let (baggage, bad_baggage) = split(list::read(baggage, &list::BAGGAGE));
        (Self { parent, tracestate, baggage }, InvalidContexts([bad_parent, bad_state, bad_baggage]))
    }

    /// The context of a request whose headers said `self` and whose `params._meta` said `meta`, and the span to link: what
    /// `_meta` says is closer to the caller, so its parent wins, and the header's is linked where it is another span.
    #[must_use]
    pub fn overridden_by(self, meta: Self) -> (Self, Option<(TraceId, SpanId)>) {
        let baggage = meta.baggage.or(self.baggage);
        let Some(parent) = meta.parent else {
            return (Self { baggage, ..self }, None);
        };
        let ambient = self.parent.map(|parent| (parent.trace_id, parent.span_id));
        let link = ambient.filter(|ambient| *ambient != (parent.trace_id, parent.span_id));
        (Self { parent: Some(parent), tracestate: meta.tracestate, baggage }, link)
    }
}

fn split<T>(read: Result<Option<T>, InvalidTraceContext>) -> (Option<T>, Option<InvalidTraceContext>) {
    match read {
        Ok(value) => (value, None),
        Err(reason) => (None, Some(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::TraceContext;
    use crate::words::InvalidTraceContext::{self, BaggageMalformed, TraceparentMalformed, TracestateMalformed};

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const OTHER_PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";

    fn read(parent: &str, state: &str, baggage: &str) -> (TraceContext, Vec<InvalidTraceContext>) {
        let value = |text: &'static str| (!text.is_empty()).then_some(text.as_bytes());
        let leak = |text: &str| value(String::from(text).leak());
        let (context, invalid) = TraceContext::read(leak(parent), leak(state), leak(baggage));
        (context, invalid.into_iter().collect())
    }

    /// What is left of the three values, and what was wrong.
    fn check(parent: &str, state: &str, baggage: &str, left: [Option<&str>; 3], reasons: &[InvalidTraceContext]) {
        let (context, invalid) = read(parent, state, baggage);
        let text = context.parent.map(|parent| parent.text());
        assert_eq!([text.as_ref().map(|text| text.as_str()), context.tracestate.as_deref(), context.baggage.as_deref()], left);
        assert_eq!(invalid, reasons);
    }

    #[test]
    fn each_value_stands_or_falls_alone_but_a_state_needs_a_parent() {
        check("", "", "", [None; 3], &[]);
        check(PARENT, "a=1", "k=v", [Some(PARENT), Some("a=1"), Some("k=v")], &[]);
        check(PARENT, "", "", [Some(PARENT), None, None], &[]);
        check("", "a=1", "k=v", [None, None, Some("k=v")], &[]);
        check("00-x", "a=1", "k=v", [None, None, Some("k=v")], &[TraceparentMalformed]);
        check(PARENT, "a", "k=v", [Some(PARENT), None, Some("k=v")], &[TracestateMalformed]);
        check(PARENT, "a=1", "k", [Some(PARENT), Some("a=1"), None], &[BaggageMalformed]);
        check("nonsense", "nonsense", "nonsense", [None; 3], &[TraceparentMalformed, BaggageMalformed]);
        assert!(TraceContext::read(None, None, None).1.is_empty());
    }

    /// Which parent, state, baggage and link a request has whose headers and `_meta` say these.
    fn check_choice(header: [&str; 3], meta: [&str; 3], expected: [&str; 3], link: Option<&str>) {
        let of = |[parent, state, baggage]: [&str; 3]| read(parent, state, baggage).0;
        let (context, linked) = of(header).overridden_by(of(meta));
        assert_eq!(context, of(expected));
        assert_eq!(linked.map(|(trace, span)| format!("00-{trace}-{span}-01")).as_deref(), link);
    }

    #[test]
    fn meta_wins_and_the_header_is_linked() {
        check_choice(["", "", ""], ["", "", ""], ["", "", ""], None);
        check_choice([PARENT, "a=1", "k=v"], ["", "", ""], [PARENT, "a=1", "k=v"], None);
        check_choice(["", "", ""], [PARENT, "a=1", "k=v"], [PARENT, "a=1", "k=v"], None);
        check_choice([PARENT, "a=1", "k=v"], [OTHER_PARENT, "", ""], [OTHER_PARENT, "", "k=v"], Some(PARENT));
        check_choice([PARENT, "a=1", "k=v"], [OTHER_PARENT, "b=2", "l=w"], [OTHER_PARENT, "b=2", "l=w"], Some(PARENT));
        check_choice([PARENT, "a=1", ""], [PARENT, "a=1", ""], [PARENT, "a=1", ""], None);
        check_choice([PARENT, "a=1", ""], ["", "", "l=w"], [PARENT, "a=1", "l=w"], None);
    }
}
