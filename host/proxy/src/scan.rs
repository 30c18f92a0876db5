//! `inspect`: the push scanner over a whole body.

use watchgate_mcp::{Envelope, MessageKind, ScanEnd, Scanner};

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
    let mut scanner = Scanner::new();
    let mut envelopes = Vec::new();
    let mut dropped = false;
    let mut elements: u32 = 0;
    let mut sink = |envelope: Envelope| {
        elements = elements.saturating_add(1);
        if envelopes.len() < MAX_ELEMENTS {
            envelopes.push(envelope);
        } else {
            dropped = true;
        }
    };
    scanner.feed(body, &mut sink);
    let end = scanner.finish(&mut sink);
    let is_batch = scanner.is_batch();
    // What is no message at all is opaque as a whole; so is what did not end or went on after its end.
    let is_readable = end == ScanEnd::Complete && !dropped && envelopes.iter().any(|envelope| envelope.kind != MessageKind::Invalid);
    if !is_readable {
        envelopes.clear();
    }
    Scanned { envelopes, is_batch, elements }
}
