//! The sum of what all generations may have instantiated at once, so that no generation finds the pool empty in the middle of traffic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts reserved instances against the size of the pool.
#[derive(Debug)]
pub(crate) struct Capacity {
    total: u32,
    reserved: AtomicU32,
}

impl Capacity {
    pub(crate) fn new(total: u32) -> Arc<Self> {
        Arc::new(Self { total, reserved: AtomicU32::new(0) })
    }

    /// Takes `wanted` instances, or says how many are free.
    pub(crate) fn reserve(self: &Arc<Self>, wanted: u32) -> Result<Reservation, u32> {
        let taken = self
            .reserved
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |reserved| reserved.checked_add(wanted).filter(|sum| *sum <= self.total));
        match taken {
            Ok(_) => Ok(Reservation { capacity: Arc::clone(self), instances: wanted }),
            Err(reserved) => Err(self.total - reserved),
        }
    }

    /// Instances reserved now.
    pub(crate) fn reserved(&self) -> u32 {
        self.reserved.load(Ordering::Acquire)
    }

    /// Instances that can be reserved in all.
    pub(crate) fn total(&self) -> u32 {
        self.total
    }
}

/// Instances of the pool that belong to one generation until this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    capacity: Arc<Capacity>,
    instances: u32,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.capacity.reserved.fetch_sub(self.instances, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::Capacity;

    #[test]
    fn reservations_fit_or_are_refused_and_come_back() {
        let capacity = Capacity::new(10);
        let first = capacity.reserve(8).unwrap();
        assert_eq!(capacity.reserve(3).unwrap_err(), 2);
        let second = capacity.reserve(2).unwrap();
        assert_eq!(capacity.reserved(), 10);
        drop(first);
        assert_eq!(capacity.reserved(), 2);
        drop(second);
        assert_eq!(capacity.reserved(), 0);
        assert_eq!(capacity.reserve(u32::MAX).unwrap_err(), 10);
    }
}
