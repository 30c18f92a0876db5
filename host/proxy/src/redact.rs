//! `redact`: one wire body through the live chain, batches element by element.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use watchgate_hooks::{ChainResult, Denial, HookSet, Kind, Message, MirroredHeader, PolicyCall, Surface};
use watchgate_mcp::{Direction, Envelope, MessageKind, json};

/// A body and what the scanner found in it.
pub(crate) struct Subject {
    pub(crate) body: Bytes,
    pub(crate) direction: Direction,
    pub(crate) server: Arc<str>,
    /// One for a plain message; one for each element of a batch; none when it is not JSON-RPC.
    pub(crate) items: Vec<Item>,
    pub(crate) is_batch: bool,
    /// Headers that count as content; only for requests.
    pub(crate) headers: Vec<MirroredHeader>,
}

/// One message of a body.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) kind: MessageKind,
    /// Its own method, or that of the request it answers.
    pub(crate) method: Option<Box<str>>,
    pub(crate) name: Option<Box<str>>,
}

impl Item {
    /// Of a request or notification, or of an answer whose request is given.
    pub(crate) fn new(envelope: &Envelope, asked: Option<(Box<str>, Option<Box<str>>)>) -> Self {
        let (method, name) = match asked {
            Some((method, name)) => (Some(method), name),
            // Servers may read another of several equal keys than the scanner: what it is, is not known.
            None if envelope.is_ambiguous => (None, None),
            None => (envelope.method_str().map(Into::into), envelope.name.clone()),
        };
        Self { kind: envelope.kind, method, name }
    }
}

/// What became of it.
pub(crate) enum Redacted {
    /// Nothing changed.
    Same,
    /// A new body and, when the headers follow it, all of them anew.
    Changed(Bytes, Option<Vec<MirroredHeader>>),
    /// It does not pass.
    Denied(Denial),
}

impl Subject {
    /// Whether a live policy may want any of it.
    pub(crate) fn is_wanted(&self, hooks: &HookSet) -> bool {
        if hooks.redaction.is_empty() {
            return false;
        }
        if self.items.is_empty() {
            return hooks.redaction.wants(Surface::Wire, self.direction, None, None);
        }
        self.items.iter().any(|item| hooks.redaction.wants(Surface::Wire, self.direction, item.method.as_deref(), item.name.as_deref()))
    }

    /// Runs the chain, and notes its calls.
    pub(crate) async fn redact(mut self, hooks: &HookSet, calls: &mut Vec<PolicyCall>) -> Redacted {
        let items = std::mem::take(&mut self.items);
        let ranges = match (self.is_batch, items.as_slice()) {
            (false, [_]) => return self.redact_one(items.into_iter().next(), hooks, calls).await,
            (true, [_, ..]) => json::array_elements(&self.body).filter(|ranges| ranges.len() == items.len()),
            _ => None,
        };
        match ranges {
            Some(ranges) => self.redact_batch(ranges, items, hooks, calls).await,
            // No message, or a batch that does not parse: one opaque body.
            None => self.redact_one(None, hooks, calls).await,
        }
    }

    async fn redact_one(mut self, item: Option<Item>, hooks: &HookSet, calls: &mut Vec<PolicyCall>) -> Redacted {
        let (body, headers) = (std::mem::take(&mut self.body), std::mem::take(&mut self.headers));
        match hooks.redaction.run_noting(self.message(body, item, headers), Some(calls)).await {
            ChainResult::Unchanged => Redacted::Same,
            ChainResult::Changed(body, headers) => Redacted::Changed(body, headers),
            ChainResult::Denied(denial) => Redacted::Denied(denial),
        }
    }

    async fn redact_batch(&self, ranges: Vec<Range<usize>>, items: Vec<Item>, hooks: &HookSet, calls: &mut Vec<PolicyCall>) -> Redacted {
        let mut edits: Vec<(Range<usize>, Bytes)> = Vec::new();
        for (range, item) in ranges.into_iter().zip(items) {
            // Mirrored headers belong to single messages of an era without batches.
            match hooks.redaction.run_noting(self.message(self.body.slice(range.clone()), Some(item), Vec::new()), Some(calls)).await {
                ChainResult::Unchanged => {}
                ChainResult::Changed(body, _) => edits.push((range, body)),
                ChainResult::Denied(denial) => return Redacted::Denied(denial),
            }
        }
        if edits.is_empty() { Redacted::Same } else { Redacted::Changed(json::splice(&self.body, &edits).into(), None) }
    }

    fn message(&self, body: Bytes, item: Option<Item>, headers: Vec<MirroredHeader>) -> Message {
        let (kind, method, name) = item.map_or((None, None, None), |item| (Some(item.kind), item.method, item.name));
        Message {
            body,
            kind: match kind {
                Some(MessageKind::Request) => Kind::Request,
                Some(MessageKind::Notification) => Kind::Notification,
                Some(MessageKind::Result) => Kind::Response,
                Some(MessageKind::Error) => Kind::Error,
                Some(MessageKind::Invalid) | None => Kind::Opaque,
            },
            direction: self.direction,
            surface: Surface::Wire,
            server: self.server.clone(),
            method,
            name,
            headers,
        }
    }
}
