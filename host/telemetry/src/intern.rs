//! Turns the few `&'static str` that serve as label values into small numbers, so that series can be found by a number.

use std::sync::OnceLock;

/// The label value of everything outside a closed set.
pub(crate) const OTHER: &str = "_other";

/// Up to `N` distinct texts, numbered in the order in which they were first seen. The caller's texts are constants of the
/// program, so the set is closed by construction; `N` is a second line of defence.
pub(crate) struct Interner<const N: usize> {
    slots: [OnceLock<&'static str>; N],
}

impl<const N: usize> Interner<N> {
    pub const fn new() -> Self {
        Self { slots: [const { OnceLock::new() }; N] }
    }

    /// The number of `text`; `N` when there are `N` others already. Neither locks nor allocates.
    pub fn number(&self, text: &'static str) -> usize {
        for (index, slot) in self.slots.iter().enumerate() {
            let known = *slot.get_or_init(|| text);
            // Within one crate a constant mostly has one address; the comparison of texts settles the rest.
            if std::ptr::eq(known, text) || known == text {
                return index;
            }
        }
        N
    }

    /// The text with this number, [`OTHER`] for `N`.
    pub fn text(&self, number: usize) -> &'static str {
        self.slots.get(number).and_then(|slot| slot.get()).copied().unwrap_or(OTHER)
    }
}

#[cfg(test)]
mod tests {
    use super::{Interner, OTHER};

    #[test]
    fn equal_texts_share_a_number_and_the_set_is_bounded() {
        let interner = Interner::<3>::new();
        let copy: &'static str = String::from("b").leak();
        assert_eq!(["a", "b", copy, "c", "d", "a", "e"].map(|text| interner.number(text)), [0, 1, 1, 2, 3, 0, 3]);
        assert_eq!([0, 1, 2, 3].map(|number| interner.text(number)), ["a", "b", "c", OTHER]);
    }
}
