//! Handles whose series last as long as somebody holds them: one for the same label values, and gone with the last holder.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::bounded_names::cut;
use crate::family::key;
use crate::intern::OTHER;
use crate::owner::Owner;

/// The handles of one kind that are held now, by their label values.
pub(crate) struct Leases<T> {
    most: usize,
    held: Mutex<HashMap<Box<[u8]>, Lease<T>>>,
}

struct Lease<T> {
    owner: Arc<Owner>,
    handle: Weak<T>,
}

impl<T> Leases<T> {
    /// At most `most` handles, and one with `_other` for each beginning of the label values.
    pub fn new(most: usize) -> Self {
        Self { most, held: Mutex::default() }
    }

    /// The handle with these label values, made when nobody holds it; the last value becomes `_other` when there are too many.
    pub fn get<const N: usize>(&self, mut values: [&str; N], make: impl FnOnce([&str; N], Arc<Owner>) -> T) -> Arc<T> {
        const { assert!(N > 0, "a handle has a label") };
        let mut held = self.held.lock();
        values[N - 1] = cut(values[N - 1]);
        if held.len() >= self.most && !held.contains_key(&key(&values)) {
            values[N - 1] = OTHER;
        }
        let key = key(&values);
        if let Some(handle) = held.get(&key).and_then(|lease| lease.handle.upgrade()) {
            return handle;
        }
        let owner = Arc::<Owner>::default();
        let handle = Arc::new(make(values, owner.clone()));
        held.insert(key, Lease { owner, handle: Arc::downgrade(&handle) });
        handle
    }

    /// Ends a handle and calls `remove` for its series, unless that was done or a successor has taken them over: one that was
    /// made between the last holder's letting go and this call.
    pub fn end(&self, values: &[&str], owner: &Arc<Owner>, remove: impl FnOnce()) {
        let key = key(values);
        let mut held = self.held.lock();
        if held.get(&key).is_some_and(|lease| Arc::ptr_eq(&lease.owner, owner)) {
            held.remove(&key);
            owner.retire();
            remove();
        }
    }

    /// Ends every handle whose label values begin with these; their series are the caller's to remove.
    pub fn end_under(&self, prefix: &[&str]) {
        let prefix = key(prefix);
        self.held.lock().retain(|key, lease| {
            let stays = !key.starts_with(&prefix);
            if !stays {
                lease.owner.retire();
            }
            stays
        });
    }
}
