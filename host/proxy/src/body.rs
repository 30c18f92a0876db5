//! The body of a response to a client.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::events::EventBody;
use crate::relay::RelayBody;
use crate::source::SourceError;
use crate::whole_body::WholeBody;

/// Ends a response in the middle: the client must see that it was cut, not a regular end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cut {
    /// The server broke off, or sent what is not HTTP.
    #[error("the server broke off: {0}")]
    Upstream(#[from] SourceError),
    /// The server sent nothing for too long.
    #[error("the server sent nothing for too long")]
    Silent,
    /// A policy that must see the answer went live, or a required one was lost, after its head had passed.
    #[error("a redaction policy must see an answer that had begun")]
    Late,
    /// An event that a redaction policy had to see whole did not fit beside what else is held.
    #[error("there is no room for an event that a redaction policy must see whole")]
    NoRoom,
    /// The stream ended inside an event that a redaction policy had to see whole.
    #[error("the server broke off inside an event")]
    HalfEvent,
}

/// A body in one piece, or bytes and events relayed as they come.
pub(crate) enum Body {
    /// All of it is here, and its exchange has been finished.
    Full(WholeBody),
    /// Bytes pass as they come.
    Relay(Box<RelayBody>),
    /// An event stream.
    Events(Box<EventBody>),
    /// Cut, once what was written before has been flushed.
    Cut(Option<Cut>),
}

impl Body {
    /// A body of the gateway's own.
    pub(crate) fn full(bytes: Bytes) -> Self {
        Self::Full(WholeBody::full(bytes))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let frame = match &mut *self {
            Self::Full(whole) => return Pin::new(whole).poll_frame(context).map_err(|never| match never {}),
            Self::Relay(relay) => relay.poll_frame(context),
            Self::Events(events) => events.poll_frame(context),
            Self::Cut(cut) => return Poll::Ready(cut.take().map(Err)),
        };
        if let Poll::Ready(Some(Err(cut))) = frame {
            // hyper throws away what it has not flushed when a body fails, and flushes when a body waits. The bytes before the cut are the
            // client's, so the body waits once.
            *self = Self::Cut(Some(cut));
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(whole) => whole.is_end_stream(),
            Self::Relay(relay) => relay.is_end(),
            Self::Events(events) => events.is_end(),
            Self::Cut(cut) => cut.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(whole) => whole.size_hint(),
            Self::Relay(relay) => relay.size_hint(),
            Self::Events(_) | Self::Cut(_) => SizeHint::default(),
        }
    }
}
