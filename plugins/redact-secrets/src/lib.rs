//! Stock plugin `redact-secrets`: a redaction policy that masks, hashes or denies secrets in messages and in telemetry.
//!
//! Classes: `aws_key`, `gcp_key`, `azure_key`, `github_token`, `slack_token`, `stripe_key`, `ai_key`, `bearer_token`, `jwt`, `private_key`,
//! `email`, `card` (see [`Class`]). Settings, in `[config]`:
//!
//! - one key for each class, and `default` for those not named: `"mask"` (the default; `[REDACTED:aws_key]`), `"hash"` (`[aws_key:3f9a1c22]`, the
//!   first 32 bits of the SHA-256 without a key: equal secrets stay recognisable as equal, and who can guess one can check the guess),
//!   `"deny"` (the message does not go on) or `"off"`.
//! - `use_triggers = true` lets the gateway call the plugin only for messages that hold a literal such as `AKIA`. It needs `email` and `card` to be
//!   `"off"`, because nothing literal announces them. A literal that a line break cuts in a body that is not JSON is then not seen.
//!
//! What is searched is what a reader will see: strings are decoded, keys are searched too, and JSON inside a string is followed to any depth. A
//! private key is masked from BEGIN to END, to the end of its string where END is missing, and through the strings that follow when it is given
//! line by line. Card numbers are found as JSON numbers as well. A body that is not JSON is searched as text, and again with its line breaks
//! left out; what only the second search finds denies the message, as does a secret in a mirrored header that the body does not hold.
//!
//! What is not found: secrets without a known shape (passwords), secrets split over several strings other than private keys, and
//! secrets in base 64 or another encoding.
//!
//! What it costs: time and memory in proportion to the message, whatever is in it. It needs up to three times the message's size.
//!
//! Metric: `redact_secrets_found_total{class,action}`.

pub mod class;
pub mod config;
pub mod detect;
pub mod fingerprint;
pub mod flat;
pub mod numbers;
pub mod policy;

use watchgate_plugin::{Counter, Direction, Kind, Message, Plugin, RedactionPolicy, Setup, Verdict, export_plugin};

pub use class::Class;
use config::Config;
use policy::{Counts, Decision, Header, Policy};

struct RedactSecrets {
    config: Config,
    policy: Policy,
    found: Counter,
}

impl Plugin for RedactSecrets {
    fn start(setup: &Setup) -> Result<Self, String> {
        let config: Config = setup.config_as()?;
        for trigger in config.triggers()? {
            setup.add_trigger(trigger)?;
        }
        let found = Counter::declare("redact_secrets_found_total", "Secrets found in messages and telemetry.", "", &["class", "action"])?;
        Ok(Self { policy: Policy::new(config.clone()), config, found })
    }
}

impl RedactionPolicy for RedactSecrets {
    fn redact(&mut self, message: &Message) -> Verdict {
        let body = message.body();
        let mut counts = Counts::default();
        let decision = self.policy.decide(&body, &mirrored_headers(message), || message.kind() == Kind::Opaque, &mut counts);
        self.count(&counts);
        let outcome = match decision {
            Decision::Pass => Ok(()),
            Decision::Edit(edits) => message.apply_edits(&body, false, &edits),
            Decision::Replace(body) => message.set_body(&body),
            Decision::Deny(reason) => Err(reason),
        };
        match outcome {
            Ok(()) => Verdict::Pass,
            Err(reason) => Verdict::Deny(reason),
        }
    }
}

impl RedactSecrets {
    fn count(&self, counts: &Counts) {
        if *counts == Counts::default() {
            return;
        }
        for class in Class::ALL {
            let count = counts[class.index()];
            if count > 0 {
                self.found.add(f64::from(count), &[class.name(), self.config.action(class).name()]);
            }
        }
    }
}

/// The headers that mirror content; only clients send them.
fn mirrored_headers(message: &Message) -> Vec<Header> {
    if message.direction() == Direction::ServerToClient {
        return Vec::new();
    }
    let names = message.header_names().into_iter();
    names.filter_map(|name| Some(Header { value: message.header(&name)?, name })).collect()
}

export_plugin!(RedactSecrets: redaction);
