//! The body of a server's answer together with the connection it comes on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};

use crate::server::Server;
use crate::upstream_connection::UpstreamConnection;

/// Dropping it before its end closes the connection, which is how the server learns that the client has left.
pub(crate) struct UpstreamBody {
    incoming: Incoming,
    connection: Option<UpstreamConnection>,
    server: Arc<Server>,
}

impl UpstreamBody {
    /// Joins what `forward` returned.
    pub(crate) fn new(incoming: Incoming, connection: UpstreamConnection, server: Arc<Server>) -> Self {
        Self { incoming, connection: Some(connection), server }
    }

    /// The next frame. At the end the connection has gone back to the pool, if it can be used again.
    pub(crate) fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut frame = Pin::new(&mut self.incoming).poll_frame(context);
        if frame.is_pending()
            && let Some(connection) = &mut self.connection
        {
            // The driver reads only when the body has been asked for, so the body is asked again after it ran.
            if connection.poll_drive(context).is_ready() {
                self.connection = None;
            }
            frame = Pin::new(&mut self.incoming).poll_frame(context);
        }
        match &frame {
            Poll::Ready(Some(Ok(_))) if self.incoming.is_end_stream() => self.release(),
            Poll::Ready(None) => self.release(),
            Poll::Ready(Some(Err(_))) => self.connection = None,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        frame
    }

    /// Whether nothing more comes.
    pub(crate) fn is_end(&self) -> bool {
        self.incoming.is_end_stream()
    }

    /// What is known of the length that is left.
    pub(crate) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }

    /// Gives the connection back.
    pub(crate) fn release(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.server.pool.put(connection);
        }
    }
}
