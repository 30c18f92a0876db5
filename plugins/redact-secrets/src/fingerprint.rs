//! One pass over a text that finds the few places where a secret could be announced, by three bytes each.
//!
//! Each shape of secret has a *fingerprint*: three bytes in a row of which every such secret holds one instance at a fixed place, chosen to
//! be rare in ordinary text. With `simd128` sixteen places are tested at once, in the manner of the Teddy algorithm: two table look-ups by
//! half-byte for each of the three bytes, and the bits that survive name the buckets that may match. That test lets some wrong ones
//! through, so whoever is told of a place verifies it.

use core::ops::ControlFlow;

use crate::class::{Class, ClassSet};

/// The bytes of one position of a fingerprint: one of those listed, or any.
type Bytes = &'static [u8];
const ANY: Bytes = &[];

struct Fingerprint {
    /// None: wanted whatever is looked for.
    class: Option<Class>,
    /// Fingerprints of one bucket are not told apart by the test; they are put together so that their mixtures are rare too.
    bucket: u8,
    bytes: [Bytes; 3],
}

const fn fingerprint(class: Class, bucket: u8, bytes: [Bytes; 3]) -> Fingerprint {
    Fingerprint { class: Some(class), bucket, bytes }
}

const DIGITS: Bytes = b"0123456789";

const FINGERPRINTS: [Fingerprint; 17] = [
    // A JSON escape that stands for an ASCII character, and so may hide any of the others.
    Fingerprint { class: None, bucket: 7, bytes: [b"\\", b"u", b"0"] },
    // No issuer's numbers begin with another digit.
    fingerprint(Class::Card, 0, [b"23456", DIGITS, DIGITS]),
    fingerprint(Class::Email, 1, [b"@", ANY, ANY]),
    fingerprint(Class::AwsKey, 2, [b"A", b"KS", b"I"]),
    fingerprint(Class::AwsKey, 2, [b"A", b"B", b"I"]),
    fingerprint(Class::AwsKey, 2, [b"A", b"C", b"C"]),
    fingerprint(Class::GcpKey, 2, [b"A", b"I", b"z"]),
    fingerprint(Class::GithubToken, 3, [b"h", b"pousr", b"_"]),
    fingerprint(Class::GithubToken, 3, [b"u", b"b", b"_"]),
    fingerprint(Class::SlackToken, 4, [b"x", b"oa", b"xp"]),
    fingerprint(Class::AzureKey, 4, [b"tTsS", b"kK", b"eE"]),
    fingerprint(Class::StripeKey, 3, [b"sr", b"k", b"_"]),
    fingerprint(Class::AiKey, 5, [b"s", b"k", b"-"]),
    fingerprint(Class::Jwt, 6, [b"e", b"y", b"J"]),
    fingerprint(Class::PrivateKey, 6, [b"-", b"B", b"E"]),
    fingerprint(Class::BearerToken, 5, [b"rR", b"eE", b"rR"]),
    fingerprint(Class::AwsKey, 7, [b"eE", b"cC", b"rR"]),
];

/// The fingerprints of some classes, compiled.
pub struct Fingerprints {
    /// For each position: the buckets that have this byte there.
    by_byte: [[u8; 256]; 3],
    /// For each position: the buckets that have a byte with this low half, and those that have one with this high half.
    #[cfg(any(test, all(target_arch = "wasm32", target_feature = "simd128")))]
    by_half: [[[u8; 16]; 2]; 3],
}

impl Fingerprints {
    /// Compiles the fingerprints of `classes`.
    #[must_use]
    pub fn new(classes: ClassSet) -> Self {
        let mut by_byte = [[0; 256]; 3];
        for fingerprint in FINGERPRINTS.iter().filter(|fingerprint| fingerprint.class.is_none_or(|class| classes.contains(class))) {
            for (table, bytes) in by_byte.iter_mut().zip(fingerprint.bytes) {
                let bit = 1 << fingerprint.bucket;
                match bytes {
                    [] => table.iter_mut().for_each(|buckets| *buckets |= bit),
                    bytes => bytes.iter().for_each(|byte| table[usize::from(*byte)] |= bit),
                }
            }
        }
        Self {
            #[cfg(any(test, all(target_arch = "wasm32", target_feature = "simd128")))]
            by_half: by_byte.map(halves),
            by_byte,
        }
    }

    /// Calls `visit` with each place, in rising order, where a fingerprint may stand, until it breaks. At least three bytes follow each
    /// place.
    pub fn visit(&self, text: &[u8], mut visit: impl FnMut(usize) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut start = 0;
        while let Some(block) = text.get(start..start + BLOCK) {
            let mut places = self.places(block);
            while places != 0 {
                visit(start + places.trailing_zeros() as usize)?;
                places &= places - 1;
            }
            start += PLACES;
        }
        let rest = &text[start..];
        for (offset, window) in rest.windows(3).enumerate() {
            if self.matches(window[0], window[1], window[2]) {
                visit(start + offset)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn matches(&self, first: u8, second: u8, third: u8) -> bool {
        self.by_byte[0][usize::from(first)] & self.by_byte[1][usize::from(second)] & self.by_byte[2][usize::from(third)] != 0
    }

    /// Which of the first sixteen places of a block may match, one bit each.
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    fn places(&self, block: &[u8]) -> u32 {
        let mut places = 0;
        for (place, window) in block.windows(3).enumerate() {
            places |= u32::from(self.matches(window[0], window[1], window[2])) << place;
        }
        places
    }

    /// Which of the first sixteen places of a block may match, one bit each.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    fn places(&self, block: &[u8]) -> u32 {
        use core::arch::wasm32::{
            i8x16_bitmask, i8x16_ne, i8x16_splat, u8x16_shr, u8x16_swizzle, v128, v128_and, v128_any_true, v128_load,
        };

        let load = |bytes: &[u8]| {
            let sixteen: &[u8; 16] = bytes.first_chunk().expect("a block is sixteen places and two bytes long");
            // SAFETY: the reference proves that sixteen bytes can be read, and `v128_load` needs no alignment.
            unsafe { v128_load(sixteen.as_ptr().cast::<v128>()) }
        };
        let mut buckets = i8x16_splat(-1);
        for position in 0..3 {
            let bytes = load(&block[position..]);
            let low = u8x16_swizzle(load(&self.by_half[position][0]), v128_and(bytes, i8x16_splat(15)));
            let high = u8x16_swizzle(load(&self.by_half[position][1]), u8x16_shr(bytes, 4));
            buckets = v128_and(buckets, v128_and(low, high));
        }
        if !v128_any_true(buckets) {
            return 0;
        }
        u32::from(i8x16_bitmask(i8x16_ne(buckets, i8x16_splat(0))))
    }
}

/// Places tested at once.
const PLACES: usize = 16;
/// Bytes they need: the last place has two more behind it.
const BLOCK: usize = PLACES + 2;

#[cfg(any(test, all(target_arch = "wasm32", target_feature = "simd128")))]
fn halves(by_byte: [u8; 256]) -> [[u8; 16]; 2] {
    let mut halves = [[0; 16]; 2];
    for (byte, buckets) in by_byte.into_iter().enumerate() {
        halves[0][byte & 15] |= buckets;
        halves[1][byte >> 4] |= buckets;
    }
    halves
}

#[cfg(test)]
mod tests {
    use core::ops::ControlFlow;

    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    use super::Fingerprints;
    use crate::class::Class;

    fn all() -> Fingerprints {
        Fingerprints::new(Class::ALL.into_iter().collect())
    }

    fn places(text: &[u8]) -> Vec<usize> {
        let mut places = Vec::new();
        let outcome = all().visit(text, |place| {
            places.push(place);
            ControlFlow::Continue(())
        });
        assert!(outcome.is_continue());
        places
    }

    #[test]
    fn finds_each_fingerprint_at_every_place() {
        for literal in
            ["AKI", "ASI", "AIz", "hp_", "ub_", "xox", "tKe", "sk_", "sk-", "eyJ", "-BE", "rer", "RER", "ecr", "@ab", "423", "\\u0"]
        {
            for before in 0..40 {
                let text = format!("{}{literal}{}", ".".repeat(before), ".".repeat(40 - before));
                assert_eq!(places(text.as_bytes()), [before], "{text}");
            }
        }
        assert_eq!(places(b"AK"), [0; 0]);
        assert!(places("an ordinary text, with words in it: the quick brown fox jumps over the lazy dog. {}[]".as_bytes()).is_empty());
    }

    proptest! {
        // The vector test looks at half-bytes: it must let through all that the exact one does.
        #[test]
        fn halves_miss_nothing(window in any::<[u8; 3]>()) {
            let fingerprints = all();
            let by_half = (0..3).fold(255, |buckets, position| {
                let [low, high] = fingerprints.by_half[position];
                let byte = usize::from(window[position]);
                buckets & low[byte & 15] & high[byte >> 4]
            });
            prop_assert!(by_half != 0 || !fingerprints.matches(window[0], window[1], window[2]));
        }

        #[test]
        fn blocks_and_rest_agree_with_windows(text in prop::collection::vec(prop::sample::select(b"AKIsk_-eyJ1@rc.".to_vec()), 0..80)) {
            let fingerprints = all();
            let expected: Vec<usize> =
                (0..text.len().saturating_sub(2)).filter(|at| fingerprints.matches(text[*at], text[at + 1], text[at + 2])).collect();
            prop_assert_eq!(places(&text), expected);
        }
    }
}
