//! The body of a server's answer as the steps of relaying see it: decoded where it must be read, and with the endpoint event of HTTP+SSE put
//! right where its server is mounted.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Frame, SizeHint};
use watchgate_telemetry::UpstreamCause;

use crate::cause;
use crate::decode::{DecodeError, Decoder};
use crate::endpoint_event::{EndpointRewrite, Rewritten};
use crate::upstream_body::UpstreamBody;

/// Why an answer broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// The connection did.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// The server ended the stream without saying that the answer is whole.
    #[error("the server broke off in the middle of its answer")]
    Cut,
    /// Its content coding cannot be undone.
    #[error("{0}")]
    Decode(#[from] DecodeError),
}

impl SourceError {
    /// Why, where that is the server's doing.
    pub(crate) fn cause(&self) -> Option<UpstreamCause> {
        match self {
            Self::Http(error) => Some(cause::of_http(error)),
            Self::Cut => Some(UpstreamCause::Reset),
            Self::Decode(_) => None,
        }
    }
}

/// An answer's body on its way to the client.
pub(crate) struct Source {
    upstream: UpstreamBody,
    filters: Option<Box<Filters>>,
}

/// What most answers do without.
#[derive(Default)]
struct Filters {
    decoder: Option<Decoder>,
    endpoint: Option<(EndpointRewrite, Arc<str>)>,
    /// What the server is asked for by clients that post to the URL of the endpoint event, once that has passed.
    messages: Option<String>,
    /// The server's last byte went through.
    ended: bool,
    /// They follow it.
    trailers: Option<HeaderMap>,
    /// What is said after the bytes that were held back.
    failed: Option<SourceError>,
}

impl Source {
    /// As the server sends it.
    pub(crate) fn new(upstream: UpstreamBody) -> Self {
        Self { upstream, filters: None }
    }

    /// Decoded.
    pub(crate) fn decode(&mut self, decoder: Decoder) {
        self.filters.get_or_insert_default().decoder = Some(decoder);
    }

    /// With the endpoint event of `server` rewritten.
    pub(crate) fn rewrite_endpoint(&mut self, rewrite: EndpointRewrite, server: Arc<str>) {
        self.filters.get_or_insert_default().endpoint = Some((rewrite, server));
    }

    /// What the server is asked for when the client posts to the URL in the endpoint event that has just passed.
    pub(crate) fn take_messages(&mut self) -> Option<String> {
        self.filters.as_mut()?.messages.take()
    }

    /// The next frame. At the end the connection has gone back to the pool, if it can be used again.
    pub(crate) fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, SourceError>>> {
        let Some(filters) = &mut self.filters else { return poll_upstream(&mut self.upstream, context) };
        loop {
            if let Some(error) = filters.failed.take() {
                return Poll::Ready(Some(Err(error)));
            }
            if filters.ended {
                return Poll::Ready(filters.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            }
            let frame = match ready!(poll_upstream(&mut self.upstream, context)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    // What came before it passes, as it would have without the filter.
                    let held = filters.endpoint.as_mut().map(|(rewrite, _)| rewrite.finish()).unwrap_or_default();
                    if held.is_empty() {
                        return Poll::Ready(Some(Err(error)));
                    }
                    filters.failed = Some(error);
                    return Poll::Ready(Some(Ok(Frame::data(held))));
                }
                None => {
                    let last = filters.finish()?;
                    return Poll::Ready((!last.is_empty()).then(|| Ok(Frame::data(last))));
                }
            };
            match frame.into_data() {
                Ok(data) => {
                    let data = filters.pass(data)?;
                    if !data.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
                Err(frame) => {
                    filters.trailers = frame.into_trailers().ok();
                    let last = filters.finish()?;
                    if !last.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(last))));
                    }
                }
            }
        }
    }

    /// Whether nothing more comes.
    pub(crate) fn is_end(&self) -> bool {
        match &self.filters {
            None => self.upstream.is_end(),
            Some(filters) => filters.ended && filters.trailers.is_none(),
        }
    }

    /// What is known of the length that is left.
    pub(crate) fn size_hint(&self) -> SizeHint {
        if self.filters.is_some() { SizeHint::default() } else { self.upstream.size_hint() }
    }

    /// The server has said nothing for too long.
    pub(crate) fn give_up(&mut self) {
        self.upstream.give_up();
    }

    /// Gives the connection back.
    pub(crate) fn release(&mut self) {
        self.upstream.release();
    }
}

fn poll_upstream(upstream: &mut UpstreamBody, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, SourceError>>> {
    match ready!(upstream.poll_frame(context)) {
        None if upstream.is_cut() => Poll::Ready(Some(Err(SourceError::Cut))),
        frame => Poll::Ready(frame.map(|frame| frame.map_err(SourceError::Http))),
    }
}

impl Filters {
    fn pass(&mut self, data: Bytes) -> Result<Bytes, DecodeError> {
        let data = match &mut self.decoder {
            Some(decoder) => decoder.push(&data)?,
            None => data,
        };
        Ok(match &mut self.endpoint {
            Some((rewrite, server)) => {
                let data = rewrite.feed(data);
                match rewrite.rewritten() {
                    Rewritten::NotYet => return Ok(data),
                    Rewritten::Unreachable => tracing::warn!(
                        %server, "the server has clients post to a path that its mount does not lead to: configure its URL without a path"
                    ),
                    Rewritten::NoEndpoint | Rewritten::Kept | Rewritten::Changed => {}
                }
                self.messages = rewrite.take_messages();
                self.endpoint = None;
                data
            }
            None => data,
        })
    }

    /// What was held back.
    fn finish(&mut self) -> Result<Bytes, DecodeError> {
        self.ended = true;
        if let Some(decoder) = &mut self.decoder {
            decoder.finish()?;
        }
        Ok(self.endpoint.as_mut().map(|(rewrite, _)| rewrite.finish()).unwrap_or_default())
    }
}
