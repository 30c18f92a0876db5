//! One exchange of an HTTP/2 connection: a task of its own, which is given up by itself when its client takes nothing of the answer.
//!
//! Over HTTP/2 the connection lives on while one of its exchanges takes nothing, and that one would hold its place and its connection to the server
//! for ever. Its neighbours do not hear of its end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::task::futures::TaskLocalFuture;

use crate::patience::Patience;
use crate::presence::Busy;

/// Answers are handed on in pieces of at most this many bytes. Of a larger one nobody would hear what its client has taken.
const MAX_PIECE: usize = 64 << 10;

tokio::task_local! {
    /// Of the exchange whose task this is.
    static PIECES: Arc<Pieces>;
}

/// What was handed on of an answer. Read and written by the task of its exchange alone.
#[derive(Debug, Default)]
struct Pieces {
    /// How many pieces there were, times two; plus one while the last of them has not been taken.
    state: AtomicU64,
}

impl Pieces {
    fn given(&self) {
        self.state.store((self.state.load(Relaxed) | 1) + 2, Relaxed);
    }

    fn taken(&self) {
        self.state.store(self.state.load(Relaxed) & !1, Relaxed);
    }

    /// The piece that has not been taken, by a number.
    fn waiting(&self) -> Option<u64> {
        Some(self.state.load(Relaxed)).filter(|state| state % 2 == 1)
    }
}

/// Starts the tasks of a connection's exchanges.
#[derive(Clone, Debug)]
pub(crate) struct StreamExecutor {
    /// How long a piece may wait to be taken.
    pub(crate) patience: Duration,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, exchange: F) {
        let pieces = Arc::<Pieces>::default();
        let exchange = PIECES.scope(pieces.clone(), exchange);
        tokio::spawn(Stream { exchange, pieces, limit: self.patience, waiting: None });
    }
}

pin_project! {
    /// An exchange, as long as its client takes what it is given.
    struct Stream<F> {
        #[pin]
        exchange: TaskLocalFuture<Arc<Pieces>, F>,
        pieces: Arc<Pieces>,
        limit: Duration,
        // The piece that is waited for, and since when.
        waiting: Option<(u64, Patience)>,
    }
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.exchange.poll(context).is_ready() {
            return Poll::Ready(());
        }
        let Some(piece) = this.pieces.waiting() else { return Poll::Pending };
        let (last, patience) = this.waiting.get_or_insert_with(|| (piece, Patience::new(*this.limit)));
        if *last != piece {
            *last = piece;
            patience.note_progress();
        }
        ready!(patience.poll_over(context));
        tracing::debug!("an exchange was given up: its client took nothing of the answer for too long");
        // Dropped with this task, the exchange resets its stream.
        Poll::Ready(())
    }
}

/// The body of an answer, whose exchange goes on until it is dropped.
pub(crate) struct StreamBody<B> {
    body: B,
    /// What is left of a large piece.
    rest: Bytes,
    /// All was given, but what came last is so large that its client may take long over it: the end waits until it is taken.
    ends_late: bool,
    pieces: Option<Arc<Pieces>>,
    _busy: Busy,
}

impl<B> StreamBody<B> {
    /// Of the exchange whose task this is.
    pub(crate) fn new(body: B, busy: Busy) -> Self {
        let pieces = PIECES.try_with(Arc::clone).ok();
        Self { body, rest: Bytes::new(), ends_late: false, pieces, _busy: busy }
    }

    fn give(&mut self, mut data: Bytes) -> Frame<Bytes> {
        self.ends_late = data.len() >= MAX_PIECE || self.ends_late;
        if data.len() > MAX_PIECE {
            self.rest = data.split_off(MAX_PIECE);
        }
        if let Some(pieces) = &self.pieces {
            pieces.given();
        }
        Frame::data(data)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for StreamBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        // Being asked for the next piece means that the one before was taken.
        if let Some(pieces) = &self.pieces {
            pieces.taken();
        }
        let rest = std::mem::take(&mut self.rest);
        if !rest.is_empty() {
            return Poll::Ready(Some(Ok(self.give(rest))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(Ok(match frame.into_data() {
                Ok(data) => self.give(data),
                Err(trailers) => trailers,
            })),
            end => {
                self.ends_late = false;
                end
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && !self.ends_late && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
