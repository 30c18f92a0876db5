//! A body that is gathered piece by piece.

use bytes::{Bytes, BytesMut};

/// From so many bytes on, room is made for all that is announced: whoever has sent as much is not likely to stop there.
const BELIEVED: usize = 256 << 10;

/// What has come so far. One piece, the usual case, is kept as it came; of more, each byte is copied as seldom as can be.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    /// While there is only this one.
    first: Bytes,
    /// All of them, once there are more.
    joined: BytesMut,
}

impl Pieces {
    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    /// Adds a piece; `left` is how many bytes are announced to come behind it, at least.
    pub(crate) fn push(&mut self, piece: Bytes, left: u64) {
        if self.len() == 0 {
            self.first = piece;
            return;
        }
        let length = self.len() + piece.len();
        if self.joined.capacity() < length {
            let left = if length < BELIEVED { 0 } else { usize::try_from(left).unwrap_or(0) };
            // Without an announcement it grows by half, as it goes.
            self.joined.reserve(length + left.max(length / 2) - self.joined.len());
        }
        self.joined.extend_from_slice(&std::mem::take(&mut self.first));
        self.joined.extend_from_slice(&piece);
    }

    /// All of it.
    pub(crate) fn into_bytes(self) -> Bytes {
        if self.joined.is_empty() { self.first } else { self.joined.freeze() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_joined_in_order_and_one_alone_is_not_copied() {
        for count in 0..5 {
            let mut pieces = Pieces::default();
            for number in 0..count {
                pieces.push(Bytes::from(format!("{number}.")), 2);
                pieces.push(Bytes::new(), 0);
            }
            let expected: String = (0..count).map(|number| format!("{number}.")).collect();
            assert_eq!(pieces.len(), expected.len());
            assert_eq!(pieces.into_bytes(), expected);
        }
        let only = Bytes::from(vec![b'x'; 10]);
        let mut pieces = Pieces::default();
        pieces.push(only.clone(), 1 << 20);
        assert_eq!(pieces.into_bytes().as_ptr(), only.as_ptr());
    }

    #[test]
    fn room_is_made_for_what_is_announced_by_those_who_have_sent_much() {
        let announced = 16 << 20;
        let room_after = |sent: usize| {
            let mut pieces = Pieces::default();
            for _ in 0..sent / 1024 {
                pieces.push(Bytes::from(vec![b'x'; 1024]), (announced - pieces.len() - 1024) as u64);
            }
            pieces.joined.capacity()
        };
        assert!(room_after(BELIEVED / 2) <= BELIEVED, "{}", room_after(BELIEVED / 2));
        assert!((announced..2 * announced).contains(&room_after(2 * BELIEVED)), "{}", room_after(2 * BELIEVED));
    }
}
