//! Random choices that come out the same for the same seed.

use std::env;

/// A stream of random numbers (SplitMix64). Good enough to mix test traffic, and nothing else.
///
/// ```
/// use watchgate_tests::Random;
///
/// let (mut one, mut other) = (Random::new(7), Random::new(7));
/// assert_eq!(one.bytes(5), other.bytes(5));
/// assert!(one.below(3) < 3);
/// ```
#[derive(Clone, Debug)]
pub struct Random(u64);

/// The variable that takes the place of the seed a test has by itself, to look for more than it finds every day.
const SEED: &str = "WATCHGATE_TEST_SEED";

impl Random {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed of a test: `usual`, or what `WATCHGATE_TEST_SEED` says.
    pub fn seed(usual: u64) -> u64 {
        env::var(SEED).ok().and_then(|seed| seed.parse().ok()).unwrap_or(usual)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `end`, `end` excluded.
    ///
    /// # Panics
    /// When `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("a usize has at most 64 bits");
        usize::try_from(self.number() % end).expect("smaller than a usize")
    }

    /// True in so many cases of a hundred.
    pub fn percent(&mut self, share: usize) -> bool {
        self.below(100) < share
    }

    /// One of these.
    ///
    /// # Panics
    /// When there is none.
    pub fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// So many bytes, each anything.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }

    /// So many characters of `alphabet`.
    pub fn text(&mut self, alphabet: &[u8], count: usize) -> Vec<u8> {
        (0..count).map(|_| *self.one_of(alphabet)).collect()
    }

    /// Puts `items` into another order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (2..=items.len()).rev() {
            let chosen = self.below(end);
            items.swap(chosen, end - 1);
        }
    }

    /// Cuts `bytes` into pieces of at most `longest` bytes; nothing gives no piece.
    pub fn pieces<'a>(&mut self, mut bytes: &'a [u8], longest: usize) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at((1 + self.below(longest)).min(bytes.len()));
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }

    fn byte(&mut self) -> u8 {
        self.number().to_le_bytes()[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_whole() {
        let mut random = Random::new(1);
        for count in [0, 1, 2, 100] {
            let bytes = random.bytes(count);
            let pieces = random.pieces(&bytes, 7);
            assert!(pieces.iter().all(|piece| (1..=7).contains(&piece.len())));
            assert_eq!(pieces.concat(), bytes);
        }
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut items: Vec<usize> = (0..50).collect();
        Random::new(3).shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
