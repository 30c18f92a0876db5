//! What an event belongs to: known to the code that works on a request, said by every event on the way.

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::trace::{SpanId, TraceId};

/// The exchange in whose service something is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogContext {
    /// Its trace.
    pub trace_id: Option<TraceId>,
    /// Its span.
    pub span_id: Option<SpanId>,
    /// Its `X-Request-ID`, as far as it may be said.
    pub request_id: Option<Arc<str>>,
}

thread_local! {
    static CURRENT: RefCell<Option<LogContext>> = const { RefCell::new(None) };
}

/// Runs `work` so that whatever it logs carries `context`, or nothing without one. What it spawns does not.
pub async fn in_context<T>(context: impl Into<Option<LogContext>>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut context = context.into();
    std::future::poll_fn(|task| {
        let entered = Entered::enter(&mut context);
        let polled = work.as_mut().poll(task);
        drop(entered);
        match polled {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// As [`in_context`], for work that does not wait.
pub fn within_context<T>(context: impl Into<Option<LogContext>>, work: impl FnOnce() -> T) -> T {
    let mut context = context.into();
    let _entered = Entered::enter(&mut context);
    work()
}

/// Swaps a context in, and back on drop, also when a poll panics.
struct Entered<'a>(&'a mut Option<LogContext>);

impl<'a> Entered<'a> {
    fn enter(context: &'a mut Option<LogContext>) -> Self {
        CURRENT.with_borrow_mut(|current| std::mem::swap(current, context));
        Self(context)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(|current| std::mem::swap(current, self.0));
    }
}

/// What the code that runs now works for.
pub(super) fn current() -> Option<LogContext> {
    CURRENT.with_borrow(Clone::clone)
}
