//! What becomes of a message: pure, so that it is tested without a gateway.

mod json_body;
mod opaque_body;

use core::ops::Range;
use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use watchgate_mcp::json;
use watchgate_plugin::matching::Edit;

use crate::class::Class;
use crate::config::{Action, Config};
use crate::detect::{Detector, Finding};
use crate::flat::{Flat, LineBreaks};

/// The policy of one configuration.
pub struct Policy {
    config: Config,
    detector: Detector,
}

/// What shall become of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Pass,
    /// Edits inside the strings of a JSON body, sorted.
    Edit(Vec<Edit>),
    /// Another body.
    Replace(Vec<u8>),
    /// It does not go on; the reason names a class and nothing that was found.
    Deny(String),
}

/// How many secrets of each class were found, by [`Class::index`].
pub type Counts = [u32; Class::ALL.len()];

/// A header that mirrors a part of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its decoded value.
    pub value: String,
}

impl Policy {
    /// The policy that these settings ask for.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let detector = Detector::new(config.enabled());
        Self { config, detector }
    }

    /// Decides about one message. Whether its body is opaque is asked only when it matters, because the question costs a call of the gateway.
    pub fn decide<'a>(&'a self, body: &[u8], headers: &'a [Header], is_opaque: impl FnOnce() -> bool, counts: &'a mut Counts) -> Decision {
        let mut search = Search::new(self, counts);
        search.look_into_headers(headers);
        let may_hold = self.detector.may_hold(body);
        // In JSON a line break cannot cut a secret, because inside strings it is escaped; so this asks for what is not JSON.
        let has_line_breaks = memchr::memchr2(b'\n', b'\r', body).is_some();
        if !may_hold && !has_line_breaks && search.in_headers.is_empty() {
            return Decision::Pass;
        }
        let decision = if !may_hold && !has_line_breaks {
            Decision::Pass
        } else if is_opaque() {
            opaque_body::search(&mut search, body)
        } else if may_hold {
            json_body::search(&mut search, body)
        } else {
            search_broken(&mut search, body)
        };
        if let Some(class) = search.denied {
            return Decision::Deny(format!("{} found", class.name()));
        }
        // Of several the first: secrets are kept by their text, headers have an order.
        let unexplained = search.in_headers.into_values().filter(|secret| !secret.is_in_body).min_by_key(|secret| secret.place);
        if let Some(HeaderSecret { header, class, .. }) = unexplained {
            return Decision::Deny(format!("header {header} holds {} that the body does not", class.name()));
        }
        decision
    }
}

/// Searches a message with line breaks in which nothing stands in one piece. The gateway takes a message with a raw line break inside a
/// string for one, but no JSON parser does, and a reader that is less strict than a parser reads over it.
fn search_broken(search: &mut Search<'_>, body: &[u8]) -> Decision {
    if json::validate(body).is_ok() || opaque_body::search(search, body) == Decision::Pass {
        return Decision::Pass;
    }
    Decision::Deny("a secret in a message that is not JSON".to_owned())
}

/// A secret found in a header.
struct HeaderSecret<'a> {
    header: &'a str,
    class: Class,
    /// The how many-th it is.
    place: usize,
    /// Whether the body holds it too.
    is_in_body: bool,
}

/// The state of one decision.
struct Search<'a> {
    policy: &'a Policy,
    counts: &'a mut Counts,
    /// A class that is to be denied was found.
    denied: Option<Class>,
    /// What was found in the headers, by its text: there may be many, and each secret of the body is looked up.
    in_headers: BTreeMap<&'a [u8], HeaderSecret<'a>>,
}

/// A secret found in a text, and what is to stand in its place.
struct Replacement {
    range: Range<usize>,
    class: Class,
    text: String,
}

impl<'a> Search<'a> {
    fn new(policy: &'a Policy, counts: &'a mut Counts) -> Self {
        Self { policy, counts, denied: None, in_headers: BTreeMap::new() }
    }

    fn look_into_headers(&mut self, headers: &'a [Header]) {
        for header in headers {
            let value = header.value.as_bytes();
            for Finding { range, class } in self.policy.detector.find(value) {
                self.note_denial(class);
                let secret = HeaderSecret { header: &header.name, class, place: self.in_headers.len(), is_in_body: false };
                self.in_headers.entry(&value[range]).or_insert(secret);
            }
        }
    }

    /// The secrets of a decoded text.
    fn in_text(&mut self, text: &[u8]) -> Vec<Replacement> {
        if memchr::memchr(b'\\', text).is_none() {
            return self.in_plain_text(text);
        }
        let flat = Flat::new(text, LineBreaks::Keep);
        let mut found = self.in_plain_text(flat.text());
        let ranges: Vec<_> = found.iter().map(|replacement| replacement.range.clone()).collect();
        for (replacement, source) in found.iter_mut().zip(flat.source_ranges(&ranges)) {
            replacement.range = source;
        }
        found
    }

    fn in_plain_text(&mut self, text: &[u8]) -> Vec<Replacement> {
        let findings = self.policy.detector.find(text);
        findings.into_iter().map(|finding| self.replace(finding.range, finding.class, text)).collect()
    }

    /// Notes a secret that was found at `range` of `text`, and says what is to stand there.
    fn replace(&mut self, range: Range<usize>, class: Class, text: &[u8]) -> Replacement {
        let secret = &text[range.clone()];
        self.counts[class.index()] = self.counts[class.index()].saturating_add(1);
        self.note_denial(class);
        if let Some(in_header) = self.in_headers.get_mut(secret) {
            in_header.is_in_body = true;
        }
        let text = match self.policy.config.action(class) {
            Action::Hash => format!("[{}:{}]", class.name(), fingerprint(secret)),
            Action::Mask | Action::Deny | Action::Off => format!("[REDACTED:{}]", class.name()),
        };
        Replacement { range, class, text }
    }

    fn note_denial(&mut self, class: Class) {
        if self.policy.config.action(class) == Action::Deny {
            self.denied.get_or_insert(class);
        }
    }
}

/// The first 32 bits of the SHA-256 of a secret, in hexadecimal.
fn fingerprint(secret: &[u8]) -> String {
    let digest = Sha256::digest(secret);
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
