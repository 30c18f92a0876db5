//! What logs and spans call a session: a hash of its id, which is a credential.

use sha2::{Digest, Sha256};

/// The first eight bytes of the SHA-256 of an id, as the client knows it: the same in every replica of the gateway and after a restart.
pub(crate) fn session_hash(session: &[u8]) -> [u8; 8] {
    let digest = Sha256::digest(session);
    std::array::from_fn(|byte| digest[byte])
}

#[cfg(test)]
mod tests {
    use super::session_hash;

    #[test]
    fn a_hash_is_the_same_everywhere_and_for_ever() {
        // What `printf abc | sha256sum` begins with.
        assert_eq!(session_hash(b"abc"), [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea]);
    }
}
