//! `inspect`: the push scanner over a whole body.

use watchgate_mcp::{Envelope, MessageKind, ScanEnd, Scanner};

use crate::turns::{TURN, Turns};

/// Envelopes kept of one body. A batch beyond this is treated as opaque, so that no element of it goes unseen.
pub(crate) const MAX_ELEMENTS: usize = 256;

/// What a body holds.
#[derive(Default)]
pub(crate) struct Scanned {
    /// The messages; empty when the body is not JSON-RPC.
    pub(crate) envelopes: Vec<Envelope>,
    /// Whether they stand in an array.
    pub(crate) is_batch: bool,
    /// Elements of the array that were seen, also those beyond what is kept and where the body as a whole is opaque.
    pub(crate) elements: u32,
}

/// Reads the envelopes of a whole body.
pub(crate) fn scan(body: &[u8]) -> Scanned {
    let mut scanning = Scanning::default();
    scanning.feed(body);
    scanning.finish()
}

/// The same, and lets others run in between where the body is large.
pub(crate) async fn scan_in_turns(body: &[u8]) -> Scanned {
    if body.len() <= TURN {
        return scan(body);
    }
    // On the heap, so that small bodies have no room for it.
    Box::pin(async {
        let mut scanning = Scanning::default();
        let mut turns = Turns::default();
        for piece in body.chunks(TURN) {
            scanning.feed(piece);
            turns.note(piece.len()).await;
        }
        scanning.finish()
    })
    .await
}

#[derive(Default)]
struct Scanning {
    scanner: Scanner,
    found: Scanned,
    dropped: bool,
}

impl Scanning {
    fn feed(&mut self, bytes: &[u8]) {
        let Self { scanner, found, dropped } = self;
        scanner.feed(bytes, &mut |envelope| keep(found, dropped, envelope));
    }

    fn finish(self) -> Scanned {
        let Self { mut scanner, mut found, mut dropped } = self;
        let end = scanner.finish(&mut |envelope| keep(&mut found, &mut dropped, envelope));
        found.is_batch = scanner.is_batch();
        // What is no message at all is opaque as a whole; so is what did not end or went on after its end.
        let is_readable =
            end == ScanEnd::Complete && !dropped && found.envelopes.iter().any(|envelope| envelope.kind != MessageKind::Invalid);
        if !is_readable {
            found.envelopes.clear();
        }
        found
    }
}

fn keep(found: &mut Scanned, dropped: &mut bool, envelope: Envelope) {
    found.elements = found.elements.saturating_add(1);
    if found.envelopes.len() < MAX_ELEMENTS {
        found.envelopes.push(envelope);
    } else {
        *dropped = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_read_alike_at_once_and_in_turns() {
        let text = "x".repeat(3 * TURN);
        let call = format!(r#"{{"jsonrpc":"2.0","id":"{text}","method":"tools/call","params":{{"text":"{text}","name":"late"}}}}"#);
        let mut bodies = vec![call.clone(), format!("[{call},{call}]"), format!("{call}{call}"), call[..call.len() - 1].to_owned()];
        bodies.push(format!("[{}]", vec!["1"; 100 * MAX_ELEMENTS * 20].join(",")));
        for body in bodies {
            let (at_once, in_turns) = (scan(body.as_bytes()), scan_in_turns(body.as_bytes()).await);
            let facts = |scanned: &Scanned| (scanned.is_batch, scanned.elements, format!("{:?}", scanned.envelopes));
            assert_eq!(facts(&at_once), facts(&in_turns));
        }
    }
}
