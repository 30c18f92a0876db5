//! A plugin that is a redaction policy and nothing else: it replaces the word `redactor-secret`. Put in the place of `guest-probe`, which is
//! all kinds, it has lost kinds.

use watchgate_plugin::{Message, Plugin, RedactionPolicy, Setup, Verdict, export_plugin};

const SECRET: &[u8] = b"redactor-secret";

struct Redactor;

impl Plugin for Redactor {
    fn start(_setup: &Setup) -> Result<Self, String> {
        Ok(Self)
    }
}

impl RedactionPolicy for Redactor {
    fn redact(&mut self, message: &Message) -> Verdict {
        let body = message.body();
        let mut from = 0;
        while let Some(found) = body[from..].windows(SECRET.len()).position(|window| window == SECRET) {
            let start = from + found;
            from = start + SECRET.len();
            if let Err(reason) = message.mask(start as u32, from as u32, "[redactor]") {
                return Verdict::Deny(reason);
            }
        }
        Verdict::Pass
    }
}

export_plugin!(Redactor: redaction);
