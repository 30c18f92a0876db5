//! Ids of traces and spans: bytes inside, lower-case hexadecimal digits outside, never all zeros.

use std::fmt;
use std::str::FromStr;

use opentelemetry::trace as api;

use super::random;

/// A text that is no id: not the right number of lower-case hexadecimal digits, or all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is {digits} lower-case hexadecimal digits, not all of them 0")]
pub struct NoId {
    digits: usize,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $random:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(api::$name);

        impl $name {
            /// How many hexadecimal digits it is written with.
            pub const DIGITS: usize = $bytes * 2;

            /// The id of these bytes; `None` when all are 0, which by W3C is no id.
            pub fn new(bytes: [u8; $bytes]) -> Option<Self> {
                let id = api::$name::from_bytes(bytes);
                (id != api::$name::INVALID).then_some(Self(id))
            }

            /// A new id. Neither locks nor allocates.
            pub fn random() -> Self {
                loop {
                    if let Some(id) = Self::new($random) {
                        return id;
                    }
                }
            }

            /// The bytes, as they go out in OTLP.
            pub const fn to_bytes(self) -> [u8; $bytes] {
                self.0.to_bytes()
            }

            /// Reads exactly [`Self::DIGITS`] lower-case hexadecimal digits.
            pub fn parse(text: &[u8]) -> Option<Self> {
                let (pairs, []) = text.as_chunks::<2>() else { return None };
                let mut bytes = [0; $bytes];
                if pairs.len() != bytes.len() {
                    return None;
                }
                for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
                    *byte = digit(*high)? << 4 | digit(*low)?;
                }
                Self::new(bytes)
            }

            /// Writes the digits; `into` has room for exactly [`Self::DIGITS`].
            pub(super) fn write(&self, into: &mut [u8]) {
                for (pair, byte) in into.as_chunks_mut::<2>().0.iter_mut().zip(self.0.to_bytes()) {
                    *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut digits = [0; Self::DIGITS];
                self.write(&mut digits);
                formatter.pad(str::from_utf8(&digits).expect("hexadecimal digits are ASCII"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, formatter)
            }
        }

        impl FromStr for $name {
            type Err = NoId;
            fn from_str(text: &str) -> Result<Self, NoId> {
                Self::parse(text.as_bytes()).ok_or(NoId { digits: Self::DIGITS })
            }
        }
    };
}

id! {
    /// What all spans of one trace share.
    TraceId, 16, (u128::from(random::bits()) << 64 | u128::from(random::bits())).to_be_bytes()
}

id! {
    /// One span within its trace.
    SpanId, 8, random::bits().to_be_bytes()
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// W3C allows lower case only.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{SpanId, TraceId};

    fn check(text: &str, is_id: bool) {
        let id = text.parse::<TraceId>();
        assert_eq!(id.is_ok(), is_id, "{text:?}");
        if let Ok(id) = id {
            assert_eq!(id.to_string(), text);
            assert_eq!(TraceId::new(id.to_bytes()), Some(id));
        }
    }

    #[test]
    fn an_id_is_lower_case_digits_and_not_zero() {
        check("0af7651916cd43dd8448eb211c80319c", true);
        check("00000000000000000000000000000001", true);
        check("00000000000000000000000000000000", false);
        check("0AF7651916CD43DD8448EB211C80319C", false);
        check("0af7651916cd43dd8448eb211c80319", false);
        check("0af7651916cd43dd8448eb211c80319c0", false);
        check("0af7651916cd43dd8448eb211c80319cff", false);
        check("0af7651916cd43dd8448eb211c80319g", false);
        check("+af7651916cd43dd8448eb211c80319c", false);
        check("", false);
        assert_eq!("b7ad6b7169203331".parse::<SpanId>().unwrap().to_bytes(), [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
    }

    #[test]
    fn random_ids_differ_across_threads_too() {
        let ids = || (0..1000).map(|_| TraceId::random()).collect::<Vec<_>>();
        let mut all: HashSet<TraceId> = ids().into_iter().collect();
        for thread in (0..4).map(|_| std::thread::spawn(ids)).collect::<Vec<_>>() {
            all.extend(thread.join().unwrap());
        }
        assert_eq!(all.len(), 5000);
    }
}
