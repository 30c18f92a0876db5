//! The bearer token that operators show.

use std::fmt;

use sha2::{Digest, Sha256};

/// A secret text. It is never printed, and comparing with it takes the same time for every guess.
#[derive(Clone)]
pub struct Secret {
    digest: [u8; 32],
}

impl Secret {
    /// Remembers a secret; `None` for an empty one, which would let everybody in.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self { digest: digest(text) })
    }

    /// Whether `guess` is the secret. Digests are compared, so neither the length nor the first difference shows in the time.
    pub fn matches(&self, guess: &str) -> bool {
        let guess = digest(guess);
        let difference = self.digest.iter().zip(guess).fold(0, |difference, (ours, theirs)| difference | (ours ^ theirs));
        std::hint::black_box(difference) == 0
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_matches_and_it_is_not_printed() {
        let secret = Secret::new(" open sesame\n").unwrap();
        let check = |guess, expected| assert_eq!(secret.matches(guess), expected, "{guess:?}");
        check("open sesame", true);
        check("open sesam", false);
        check("open sesame ", false);
        check("", false);
        assert_eq!(format!("{secret:?}"), "Secret(***)");
        assert!(Secret::new(" \n").is_none());
    }
}
