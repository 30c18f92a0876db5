//! `forward`: one request to the server, on a pooled connection or a fresh one.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use crate::fault::Fault;
use crate::server::{Server, Shared};
use crate::upstream_connection::{SendFailure, UpstreamConnection};

/// Sends the request and waits for the head of the answer. A request of which nothing was written goes out again on another
/// connection; one that may have been seen never does.
pub(crate) async fn forward(
    shared: &Shared,
    server: &Server,
    mut request: Request<Full<Bytes>>,
) -> Result<(Response<Incoming>, UpstreamConnection), Fault> {
    let head_deadline = Instant::now() + shared.config.timeouts.head;
    loop {
        let pooled = server.pool.take();
        let is_fresh = pooled.is_none();
        let mut connection = match pooled {
            Some(connection) => connection,
            None => shared.connect(server).await?,
        };
        match timeout_at(head_deadline, connection.send(request)).await {
            Err(_) => return Err(Fault::HeadTimeout),
            Ok(Ok(response)) => return Ok((response, connection)),
            Ok(Err(SendFailure::Unsent(unsent))) if !is_fresh => request = *unsent,
            Ok(Err(SendFailure::Unsent(_))) => return Err(Fault::BrokenAnswer),
            Ok(Err(SendFailure::Sent(error))) => {
                tracing::debug!(server = %server.name, %error, "no answer from the server");
                return Err(Fault::BrokenAnswer);
            }
        }
    }
}
