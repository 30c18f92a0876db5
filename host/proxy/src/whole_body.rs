//! A body that is here in full, perhaps with trailers.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};

/// One piece of data, then the trailers.
#[derive(Clone, Debug, Default)]
pub(crate) struct WholeBody {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl WholeBody {
    /// Without trailers.
    pub(crate) fn full(data: Bytes) -> Self {
        Self { data: (!data.is_empty()).then_some(data), trailers: None }
    }

    /// With the trailers that came with it.
    pub(crate) fn with_trailers(data: Bytes, trailers: Option<HeaderMap>) -> Self {
        Self { trailers, ..Self::full(data) }
    }
}

impl WholeBody {
    /// The data.
    pub(crate) fn data(&self) -> &[u8] {
        self.data.as_deref().unwrap_or_default()
    }

    /// Other data; the trailers stay.
    pub(crate) fn replace(&mut self, data: Bytes) {
        self.data = (!data.is_empty()).then_some(data);
    }

    /// Bytes of data.
    pub(crate) fn len(&self) -> usize {
        self.data.as_ref().map_or(0, Bytes::len)
    }
}

impl Body for WholeBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = self.data.take().map(Frame::data);
        Poll::Ready(data.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.len() as u64;
        if self.trailers.is_none() {
            return SizeHint::with_exact(length);
        }
        // Over HTTP/1.1 only a chunked body can have trailers.
        let mut hint = SizeHint::new();
        hint.set_lower(length);
        hint
    }
}
