//! Bearer keys: which name a presented key is bound to.

use std::sync::Arc;

use subtle::ConstantTimeEq;

use super::Digest;
use crate::config::ClientKey;

/// All keys, known by their digests only.
pub(super) struct Keys(Box<[Key]>);

struct Key {
    digest: Digest,
    name: Arc<str>,
}

impl Keys {
    /// Keys that are configured twice keep the first name.
    pub(super) fn new(keys: &[ClientKey]) -> Self {
        Self(keys.iter().map(|key| Key { digest: key.digest, name: key.name.as_str().into() }).collect())
    }

    /// The name of the key with this digest. Takes the same time for every key that is not there, however much of it is right.
    pub(super) fn find(&self, digest: &Digest) -> Option<Arc<str>> {
        let mut found = None;
        for key in self.0.iter().rev() {
            if bool::from(key.digest.ct_eq(digest)) {
                found = Some(&key.name);
            }
        }
        found.cloned()
    }
}
