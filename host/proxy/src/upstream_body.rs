//! The body of a server's answer together with the connection it comes on.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};

use crate::breaker::Attempt;
use crate::cause;
use crate::lease::Lease;
use crate::upstream_connection::Carrier;

/// Dropping it before its end closes the connection, which is how the server learns that the client has left.
pub(crate) struct UpstreamBody {
    incoming: Incoming,
    carrier: Option<Carrier>,
    lease: Option<Lease>,
    is_cut: bool,
}

impl UpstreamBody {
    /// Joins what `forward` returned.
    pub(crate) fn new(incoming: Incoming, carrier: Carrier, lease: Lease) -> Self {
        Self { incoming, carrier: Some(carrier), lease: Some(lease), is_cut: false }
    }

    /// The next frame. At the end the connection has gone back to the pool, if it can be used again.
    pub(crate) fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut frame = Pin::new(&mut self.incoming).poll_frame(context);
        if frame.is_pending()
            && let Some(carrier) = &mut self.carrier
        {
            // The driver reads only when the body has been asked for, so the body is asked again after it ran.
            if carrier.poll_drive(context).is_ready() {
                self.carrier = None;
            }
            frame = Pin::new(&mut self.incoming).poll_frame(context);
        }
        match &frame {
            // Behind trailers nothing comes, and nobody asks for it.
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() || self.incoming.is_end_stream() => self.release(),
            Poll::Ready(None) => {
                // For hyper a stream that is reset with NO_ERROR has ended. Without an END_STREAM before it, something is missing (RFC 9113, 8.1).
                self.is_cut = matches!(self.carrier, Some(Carrier::Http2(_))) && !self.incoming.is_end_stream();
                if self.is_cut {
                    self.give_up();
                }
                self.release();
            }
            Poll::Ready(Some(Err(error))) => {
                self.carrier = None;
                if let Some(mut lease) = self.lease.take() {
                    lease.settle(Attempt::Failed);
                    lease.endpoint.complain(cause::of_http(error), &cause::in_full(error));
                }
            }
            Poll::Ready(Some(Ok(_))) => {
                if let Some(lease) = &mut self.lease {
                    lease.note_body();
                }
            }
            Poll::Pending => {}
        }
        frame
    }

    /// Whether what looked like the end was not the end of the answer.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Whether nothing more comes.
    pub(crate) fn is_end(&self) -> bool {
        self.incoming.is_end_stream()
    }

    /// What is known of the length that is left.
    pub(crate) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }

    /// The server has said nothing for too long, or broke off.
    pub(crate) fn give_up(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.settle(Attempt::Failed);
        }
    }

    /// Gives the connection back.
    pub(crate) fn release(&mut self) {
        let mut lease = self.lease.take();
        if let Some(lease) = &mut lease {
            // An end is an answer, too.
            lease.note_body();
        }
        // Room on a shared connection is given back by dropping it.
        if let (Some(Carrier::Http1(connection)), Some(lease)) = (self.carrier.take(), &lease) {
            lease.endpoint.pool.put(connection);
        }
    }
}
