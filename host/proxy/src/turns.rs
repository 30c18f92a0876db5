//! Turns on a worker: who reads or looks through a large body lets others run in between, because a small call waits no longer than one turn of each
//! large one before it.

/// Bytes of one turn: tens of microseconds.
pub(crate) const TURN: usize = 128 << 10;

/// What was done in the turn under way.
#[derive(Default)]
pub(crate) struct Turns {
    bytes: usize,
}

impl Turns {
    /// That many bytes were dealt with. Lets others run when that is a turn.
    pub(crate) async fn note(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= TURN {
            self.bytes = 0;
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    #[tokio::test]
    async fn others_run_once_in_each_turn() {
        let ran = Arc::new(AtomicUsize::new(0));
        let counted = ran.clone();
        tokio::spawn(async move {
            loop {
                counted.fetch_add(1, Relaxed);
                tokio::task::yield_now().await;
            }
        });
        let mut turns = Turns::default();
        turns.note(TURN - 1).await;
        assert_eq!(ran.load(Relaxed), 0);
        for turn in 1..5 {
            turns.note(if turn == 1 { 1 } else { 3 * TURN }).await;
            assert_eq!(ran.load(Relaxed), turn);
        }
    }
}
