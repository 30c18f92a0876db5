//! `relay` of a body that no redaction policy wants: bytes pass at once, and the scanner reads along.

use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::body::{Frame, SizeHint};
use watchgate_hooks::Surface;
use watchgate_mcp::{Direction, Envelope, Outcome, Scanner};
use watchgate_telemetry::UpstreamCause;

use crate::body::Cut;
use crate::decode::{Coding, Decoder, OutputCap};
use crate::exchange::Exchange;
use crate::operation::TEXT_CAP;
use crate::patience::Patience;
use crate::source::Source;

/// A piece of a coded body may become this much: more is a bomb, and not worth reading.
pub(crate) const DECODED_AT_ONCE: usize = 4 << 20;

/// A pass-through body.
pub(crate) struct RelayBody {
    upstream: Source,
    exchange: Box<Exchange>,
    tap: Option<JsonTap>,
    patience: Patience,
    /// The version of the live set for which it was decided that no policy wants this answer.
    judged_at: u64,
    is_over: bool,
}

/// Reads along with a JSON body.
pub(crate) struct JsonTap {
    scanner: Scanner,
    envelopes: Vec<Envelope>,
    text: Option<BytesMut>,
    /// For a body that passes in its coding: a copy is read.
    decoder: Option<Decoder>,
}

impl JsonTap {
    /// `keeps_text` when a derivation wants the text.
    pub(crate) fn new(keeps_text: bool) -> Self {
        Self { scanner: Scanner::new(), envelopes: Vec::new(), text: keeps_text.then(BytesMut::new), decoder: None }
    }

    /// Reads a coded body.
    pub(crate) fn decoding(mut self, codings: &[Coding]) -> Self {
        self.decoder = (!codings.is_empty()).then(|| Decoder::new(codings, OutputCap::PerPush(DECODED_AT_ONCE)));
        self
    }

    /// Sees the next bytes as they are on the wire.
    fn see(&mut self, bytes: &[u8], exchange: &mut Exchange) {
        match &mut self.decoder {
            None => self.feed(bytes, exchange),
            Some(decoder) => match decoder.push(bytes) {
                Ok(decoded) => self.feed(&decoded, exchange),
                // Said again for what follows, and then it changes nothing.
                Err(_) => exchange.note_unread(),
            },
        }
    }

    /// Sees the next bytes. Messages count when the bytes that hold their end have been handed on, so nothing is held back.
    pub(crate) fn feed(&mut self, bytes: &[u8], exchange: &mut Exchange) {
        if let Some(text) = &mut self.text {
            let room = TEXT_CAP - text.len();
            text.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        let envelopes = &mut self.envelopes;
        self.scanner.feed(bytes, &mut |envelope| envelopes.push(envelope));
        self.report(exchange);
    }

    /// The body is over.
    pub(crate) fn finish(&mut self, exchange: &mut Exchange) {
        let envelopes = &mut self.envelopes;
        self.scanner.finish(&mut |envelope| envelopes.push(envelope));
        self.report(exchange);
    }

    /// Ready for another message.
    pub(crate) fn reset(&mut self, keeps_text: bool) {
        self.scanner.reset();
        self.text = keeps_text.then(BytesMut::new);
    }

    /// Keeps the text of the message that begins now.
    pub(crate) fn keep_text(&mut self) {
        self.text.get_or_insert_default();
    }

    fn report(&mut self, exchange: &mut Exchange) {
        for envelope in self.envelopes.drain(..) {
            // The texts of a batch cannot be told apart here; they are left out.
            let text = if self.scanner.is_batch() { None } else { self.text.take().map(BytesMut::freeze) };
            exchange.server_message(envelope, text);
        }
    }
}

impl RelayBody {
    /// Begins relaying; the head has been sent on. `judged_at` is from before it was decided that no policy wants the answer.
    pub(crate) fn new(upstream: Source, mut exchange: Box<Exchange>, tap: Option<JsonTap>, judged_at: u64) -> Self {
        let patience = Patience::new(exchange.server.config.timeouts.idle);
        exchange.note_came(patience.last());
        Self { upstream, exchange, tap, patience, judged_at, is_over: false }
    }

    /// See `Body::poll_frame`.
    pub(crate) fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        match self.upstream.poll_frame(context) {
            Poll::Pending => {
                self.exchange.note_waiting();
                self.patience.poll_over(context).map(|()| {
                    self.upstream.give_up();
                    self.exchange.note_cause(Some(UpstreamCause::Timeout));
                    Some(Err(self.cut(Outcome::Timeout, Cut::Silent)))
                })
            }
            Poll::Ready(Some(Err(error))) => {
                self.exchange.note_cause(error.cause());
                Poll::Ready(Some(Err(self.cut(Outcome::Aborted, error.into()))))
            }
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.exchange.note_came(self.patience.note_progress());
                if self.is_wanted_now() {
                    return Poll::Ready(Some(Err(self.cut(Outcome::Denied, Cut::Late))));
                }
                if let Some(bytes) = frame.data_ref() {
                    self.exchange.response_bytes += bytes.len() as u64;
                    if let Some(tap) = &mut self.tap {
                        tap.see(bytes, &mut self.exchange);
                    }
                }
                // The server side of hyper does not ask again once the announced length has been sent, or trailers.
                if self.upstream.is_end() || frame.is_trailers() {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    /// Whether a policy that wants this answer has come since its head was passed. A JSON document that had begun to pass before goes on: it is one
    /// message, and older than the policy. Everything else could go on for hours, so it is cut. So is all of it when a required policy is gone.
    fn is_wanted_now(&mut self) -> bool {
        let hooks = &self.exchange.shared.hooks;
        if hooks.version() == self.judged_at {
            return false;
        }
        self.judged_at = hooks.version();
        let live = hooks.load();
        let is_wanted = live.redaction.wants(Surface::Wire, Direction::ServerToClient, None, None);
        let is_old_message = self.tap.is_some() && self.exchange.response_bytes > 0;
        live.lacks_required() || (is_wanted && !is_old_message)
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.is_over, true) {
            if let Some(tap) = &mut self.tap {
                tap.finish(&mut self.exchange);
            }
            self.exchange.finish(Outcome::Ok);
        }
    }

    fn cut(&mut self, outcome: Outcome, cut: Cut) -> Cut {
        self.is_over = true;
        self.exchange.finish(outcome);
        cut
    }

    /// See `Body::is_end_stream`.
    pub(crate) fn is_end(&self) -> bool {
        self.is_over || self.upstream.is_end()
    }

    /// See `Body::size_hint`.
    pub(crate) fn size_hint(&self) -> SizeHint {
        self.upstream.size_hint()
    }
}
