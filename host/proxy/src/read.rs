//! `read`: gathers a body under a cap, a deadline between its pieces, and a pace that it must keep.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body as _, Incoming};

use crate::fault::Fault;
use crate::held_bytes::{HeldBytes, Reservation};
use crate::patience::Patience;
use crate::pieces::Pieces;
use crate::turns::Turns;

/// A body over the cap is read and thrown away up to this many times the cap: a client that is still sending would not read the
/// answer, and closing on it resets the connection under its feet.
const DISCARD_FACTOR: usize = 4;

/// And for at most this long in all.
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// All of a request's body.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

/// How a body is gathered.
pub(crate) struct Bounds<'a> {
    /// Its most bytes.
    pub(crate) cap: usize,
    /// How long it may take to come, as for [`Patience::paced`].
    pub(crate) time: Duration,
    /// Whether what is left of a refused body is read and thrown away; not for a client that waits to be told to send it.
    pub(crate) may_discard: bool,
    /// Where its bytes count.
    pub(crate) held: &'a Arc<HeldBytes>,
    /// Whose bytes they are.
    pub(crate) client: IpAddr,
}

/// Gathers a request body. One that comes in one piece is not copied.
pub(crate) async fn gather(mut body: Incoming, bounds: Bounds<'_>) -> Result<Gathered, Fault> {
    let Bounds { cap, time, may_discard, held, client } = bounds;
    if body.is_end_stream() {
        return Ok(Gathered::default());
    }
    if body.size_hint().lower() > cap as u64 {
        if may_discard {
            discard(&mut body, cap).await;
        }
        return Err(Fault::TooLarge);
    }
    let mut patience = Patience::paced(time);
    let first = match next_piece(&mut body, &mut patience).await? {
        Piece::Data(first) => first,
        Piece::End(trailers) => return Ok(Gathered { body: Bytes::new(), trailers }),
    };
    let mut reservation = Reservation::default();
    let has_room = reservation.grow(held, client, first.len()).is_ok();
    if has_room && first.len() <= cap && body.is_end_stream() {
        return Ok(Gathered { body: reservation.bind(first), trailers: None });
    }
    let (mut gathered, mut turns) = (Pieces::default(), Turns::default());
    gathered.push(first, 0);
    let refused = loop {
        if gathered.len() > cap {
            break Fault::TooLarge;
        }
        if !has_room {
            break Fault::NoRoom;
        }
        match next_piece(&mut body, &mut patience).await? {
            Piece::Data(piece) if reservation.grow(held, client, gathered.len() + piece.len()).is_err() => break Fault::NoRoom,
            Piece::Data(piece) => {
                let bytes = piece.len();
                gathered.push(piece, body.size_hint().lower());
                turns.note(bytes).await;
            }
            Piece::End(trailers) => return Ok(Gathered { body: reservation.bind(gathered.into_bytes()), trailers }),
        }
    };
    drop((gathered, reservation));
    discard(&mut body, cap).await;
    Err(refused)
}

enum Piece {
    Data(Bytes),
    End(Option<HeaderMap>),
}

async fn next_piece(body: &mut Incoming, patience: &mut Patience) -> Result<Piece, Fault> {
    loop {
        let frame = poll_fn(|context| match Pin::new(&mut *body).poll_frame(context) {
            Poll::Ready(frame) => Poll::Ready(Ok(frame)),
            Poll::Pending => patience.poll_over(context).map(|()| Err(Fault::SlowBody)),
        })
        .await?;
        patience.note_progress();
        match frame {
            None => return Ok(Piece::End(None)),
            Some(Err(_)) => return Err(Fault::BrokenBody),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(piece) => {
                    patience.note_bytes(piece.len());
                    return Ok(Piece::Data(piece));
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        return Ok(Piece::End(Some(trailers)));
                    }
                }
            },
        }
    }
}

/// A request that is refused before it is read is read and thrown away up to this many bytes.
const LITTLE: usize = 256 << 10;

/// Throws away what is left of the body of a request that is refused, if it is little.
pub(crate) async fn discard_little(body: &mut Incoming) {
    if !body.is_end_stream() && body.size_hint().lower() <= LITTLE as u64 {
        discard(body, LITTLE / DISCARD_FACTOR).await;
    }
}

async fn discard(body: &mut Incoming, cap: usize) {
    let mut patience = Patience::new(DISCARD_TIME);
    let mut left = cap.saturating_mul(DISCARD_FACTOR);
    let discarding = async {
        while let Ok(Piece::Data(piece)) = next_piece(body, &mut patience).await {
            match left.checked_sub(piece.len()) {
                Some(fewer) => left = fewer,
                None => return,
            }
        }
    };
    // However it ends, the answer is the same.
    let _ = tokio::time::timeout(DISCARD_TIME, discarding).await;
}
