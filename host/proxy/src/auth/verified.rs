//! Tokens whose signature and claims were good, so that each is verified once: a signature costs some 50 µs.

use std::collections::HashMap;
use std::sync::Arc;

use super::Digest;

/// Tokens in each of the two halves. Together they are bounded by about 2 MiB.
const HALF: usize = 5_000;

/// The tokens seen last. When the young half is full it becomes the old one, whose tokens are forgotten unless they were used since: close to
/// least recently used, with nothing to keep in order.
#[derive(Default)]
pub(super) struct Verified {
    young: HashMap<Digest, Known>,
    old: HashMap<Digest, Known>,
}

/// What is known of a verified token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// The client's name.
    pub(super) name: Arc<str>,
    /// `exp`, in seconds since 1970.
    pub(super) expires: u64,
    /// The number of the keys that have verified it: under others it must be verified again.
    pub(super) keys: u64,
}

impl Verified {
    /// The token with this digest, which may have expired since.
    pub(super) fn get(&mut self, digest: &Digest) -> Option<Known> {
        if let Some(known) = self.young.get(digest) {
            return Some(known.clone());
        }
        let known = self.old.remove(digest)?;
        self.insert(*digest, known.clone());
        Some(known)
    }

    /// Remembers a token.
    pub(super) fn insert(&mut self, digest: Digest, known: Known) {
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: usize) -> Digest {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&(number as u64).to_le_bytes());
        digest
    }

    fn known(number: usize) -> Known {
        Known { name: "client".into(), expires: number as u64, keys: 1 }
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_used() {
        let mut verified = Verified::default();
        for number in 0..20 * HALF {
            verified.insert(digest(number), known(number));
            assert_eq!(verified.get(&digest(0)), Some(known(0)), "used all the time");
            assert!(verified.young.len() + verified.old.len() <= 2 * HALF);
        }
        assert_eq!(verified.get(&digest(1)), None, "not used since");
        let last = 20 * HALF - 1;
        assert_eq!(verified.get(&digest(last)), Some(known(last)));
    }
}
