//! A redaction policy for `wasm32-unknown-unknown`: a component that imports nothing of WASI. It masks the word `bare-secret` and
//! counts what it masked.

use watchgate_plugin::{Counter, Message, Plugin, RedactionPolicy, Setup, Verdict, export_plugin};

const SECRET: &[u8] = b"bare-secret";

struct Bare {
    masked: Counter,
}

impl Plugin for Bare {
    fn start(setup: &Setup) -> Result<Self, String> {
        setup.add_trigger("bare-secret")?;
        Ok(Self { masked: Counter::declare("bare_masked_total", "Words masked.", "", &["server"])? })
    }
}

impl RedactionPolicy for Bare {
    fn redact(&mut self, message: &Message) -> Verdict {
        let body = message.body();
        let mut from = 0;
        while let Some(found) = body[from..].windows(SECRET.len()).position(|window| window == SECRET) {
            let start = from + found;
            from = start + SECRET.len();
            if let Err(reason) = message.mask(start as u32, from as u32, "[bare]") {
                return Verdict::Deny(reason);
            }
            self.masked.add(1.0, &[&message.server()]);
        }
        Verdict::Pass
    }
}

export_plugin!(Bare: redaction);
