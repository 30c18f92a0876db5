//! Random numbers for ids: fast, of good quality, and different in every process; no secret may be made of them.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

/// The state of xoshiro256++ (Blackman and Vigna): 256 bits, so that the 128 bits of a trace id are all worth something.
#[derive(Clone, Copy)]
struct Xoshiro([u64; 4]);

impl Xoshiro {
    /// The keys of a `RandomState` come from the operating system.
    fn seeded() -> Self {
        let hasher = RandomState::new();
        let seed = [0_u64, 1, 2, 3].map(|number| hasher.hash_one(number));
        // All zeros is the one state that yields nothing but zeros.
        Self(if seed == [0; 4] { [1; 4] } else { seed })
    }

    fn next(self) -> (Self, u64) {
        let [mut a, mut b, mut c, mut d] = self.0;
        let number = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let shifted = b << 17;
        c ^= a;
        d ^= b;
        b ^= c;
        a ^= d;
        c ^= shifted;
        d = d.rotate_left(45);
        (Self([a, b, c, d]), number)
    }
}

thread_local! {
    static STATE: Cell<Xoshiro> = Cell::new(Xoshiro::seeded());
}

/// 64 random bits. Neither locks nor allocates once a thread has called it.
pub(super) fn bits() -> u64 {
    STATE.with(|state| {
        let (next, number) = state.get().next();
        state.set(next);
        number
    })
}

#[cfg(test)]
mod tests {
    use super::Xoshiro;

    #[test]
    fn the_sequence_is_that_of_the_reference() {
        // The first numbers of the authors' C program for the state 1, 2, 3, 4.
        let mut state = Xoshiro([1, 2, 3, 4]);
        let numbers: Vec<u64> = (0..4)
            .map(|_| {
                let (next, number) = state.next();
                state = next;
                number
            })
            .collect();
        assert_eq!(numbers, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }
}
