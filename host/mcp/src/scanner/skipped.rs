//! Values that are not captured: only their strings and brackets are looked at.

/// The open containers of a skipped value: their number, and of the outermost 64 whether each is an object.
#[derive(Default)]
pub(super) struct Skipped {
    depth: u64,
    objects: u64,
}

impl Skipped {
    pub(super) fn open(&mut self, is_object: bool) {
        if self.depth < 64 {
            self.objects = self.objects & !(1 << self.depth) | u64::from(is_object) << self.depth;
        }
        self.depth += 1;
    }

    /// Whether the bracket is the one that belongs here; deeper than 64 every one is taken for it.
    pub(super) fn close(&mut self, is_object: bool) -> bool {
        let Some(depth) = self.depth.checked_sub(1) else { return false };
        self.depth = depth;
        depth >= 64 || (self.objects >> depth & 1 == 1) == is_object
    }

    pub(super) const fn is_over(&self) -> bool {
        self.depth == 0
    }
}

/// How many bytes from `at` on are neither quote nor bracket nor something that no JSON has outside its strings.
pub(super) fn plain_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !PLAIN[usize::from(*byte)]).unwrap_or(bytes.len())
}

/// White space, separators, numbers, and the letters of the literals.
static PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let bytes = b" \t\n\r,:+-.0123456789Eaeflnrstu";
    let mut at = 0;
    while at < bytes.len() {
        table[bytes[at] as usize] = true;
        at += 1;
    }
    table
};
