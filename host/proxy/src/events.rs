//! `relay` of an event stream. While no redaction policy is live, bytes pass as they come and a parser reads along; while
//! one is, the stream is cut into events and each goes through redaction. It can change from one to the other between any
//! two events, because plugins come and go while streams live for hours.

use std::future::ready;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use http::HeaderMap;
use hyper::body::Frame;
use watchgate_hooks::{BoxFuture, HookSet, Surface};
use watchgate_mcp::sse::{SseAssembler, SseParser, SsePart};
use watchgate_mcp::{Direction, Outcome};
use watchgate_telemetry::{Limit, UpstreamCause};

use crate::body::Cut;
use crate::decode::{Coding, Decoder, OutputCap};
use crate::event_redaction::{self, Judging, Reading, Step};
use crate::exchange::Exchange;
use crate::held_bytes::Reservation;
use crate::patience::Patience;
use crate::refusal::Credentials;
use crate::relay::{DECODED_AT_ONCE, JsonTap};
use crate::server::{Phase, Shared};
use crate::source::Source;

/// An event stream on its way to a client.
pub(crate) struct EventBody {
    upstream: Source,
    exchange: Box<Exchange>,
    credentials: Option<Credentials>,
    mode: Mode,
    /// For the event that is being gathered, until it is on its way.
    reservation: Reservation,
    reading: Option<Reading>,
    judging: Option<Judging>,
    patience: Patience,
    /// From the first wait on.
    summons: Option<BoxFuture<'static, Summons>>,
    /// The stream ends with what is written next.
    is_last: bool,
    /// The server has ended the stream; events already here still go out.
    source_ended: bool,
    is_over: bool,
    /// They go out after the last event.
    trailers: Option<HeaderMap>,
}

enum Mode {
    /// Bytes pass.
    Pass(Box<EventTap>),
    /// Whole events pass.
    Whole(SseAssembler),
}

impl EventBody {
    /// Begins relaying; the head has been sent on. `codings` are those that the body passes in.
    pub(crate) fn new(upstream: Source, mut exchange: Box<Exchange>, credentials: Option<Credentials>, codings: &[Coding]) -> Self {
        let patience = Patience::new(exchange.server.config.timeouts.stream_idle);
        exchange.note_came(patience.last());
        let keeps_text = exchange.keeps_text();
        Self {
            upstream,
            exchange,
            credentials,
            mode: Mode::Pass(Box::new(EventTap::new(keeps_text).decoding(codings))),
            reservation: Reservation::default(),
            reading: None,
            judging: None,
            patience,
            summons: None,
            is_last: false,
            source_ended: false,
            is_over: false,
            trailers: None,
        }
    }

    /// See `Body::is_end_stream`. Never early: what is still judged comes after the server's last byte.
    pub(crate) fn is_end(&self) -> bool {
        self.is_over
    }

    /// See `Body::poll_frame`.
    pub(crate) fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if self.is_last {
            return self.finish(Outcome::Ok);
        }
        loop {
            match self.poll_events(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(bytes))) if bytes.is_empty() => continue,
                Poll::Ready(Some(Ok(bytes))) => return self.write(bytes),
                Poll::Ready(Some(Err(cut))) => return Poll::Ready(Some(Err(cut))),
                Poll::Ready(None) => {}
            }
            if self.source_ended {
                return self.end();
            }
            match self.upstream.poll_frame(context) {
                Poll::Pending => {
                    self.exchange.note_waiting();
                    // Most streams answer one call, and never come here with anything to be told.
                    let summons = self.summons.get_or_insert_with(|| summons(self.exchange.shared.clone()).boxed());
                    match summons.poll_unpin(context) {
                        Poll::Ready(Summons::MustNotPass) => return Poll::Ready(Some(Err(self.cut(Outcome::Denied, Cut::Late)))),
                        Poll::Ready(Summons::End) if self.at_boundary() => return self.finish(Outcome::Ok),
                        Poll::Ready(Summons::End) => self.summons = Some(ready(Summons::End).boxed()),
                        Poll::Pending => {}
                    }
                    return self.patience.poll_over(context).map(|()| {
                        self.upstream.give_up();
                        self.exchange.note_cause(Some(UpstreamCause::Timeout));
                        Some(Err(self.cut(Outcome::Timeout, Cut::Silent)))
                    });
                }
                Poll::Ready(None) => self.source_ended = true,
                Poll::Ready(Some(Err(error))) => {
                    self.exchange.note_cause(error.cause());
                    return Poll::Ready(Some(Err(self.cut(Outcome::Aborted, error.into()))));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    self.exchange.note_came(self.patience.note_progress());
                    if self.exchange.shared.hooks.load().lacks_required() {
                        return Poll::Ready(Some(Err(self.cut(Outcome::Denied, Cut::Late))));
                    }
                    if let Some(target) = self.upstream.take_messages() {
                        self.exchange.note_messages(&target);
                        if let Some(credentials) = &mut self.credentials {
                            credentials.note_target(&target);
                        }
                    }
                    match frame.into_data() {
                        Ok(chunk) => {
                            if self.is_coded() && self.has_policies() {
                                return Poll::Ready(Some(Err(self.cut(Outcome::Denied, Cut::Late))));
                            }
                            let passed = self.take_chunk(chunk);
                            if let Mode::Whole(assembler) = &self.mode
                                && self.reservation.grow(&self.exchange.shared.held, self.exchange.client_ip(), assembler.len()).is_err()
                            {
                                self.exchange.server.metrics.limited(Limit::HeldBytes);
                                return Poll::Ready(Some(Err(self.cut(Outcome::Denied, Cut::NoRoom))));
                            }
                            if !passed.is_empty() {
                                return self.write(passed);
                            }
                        }
                        Err(frame) => {
                            // Trailers are shown to no policy, so none can say that they may pass.
                            self.trailers = frame.into_trailers().ok().filter(|_| !self.has_policies());
                            self.source_ended = true;
                        }
                    }
                }
            }
        }
    }

    /// What the events already here give. `Ready(None)`: more bytes are needed.
    fn poll_events(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        let keeps_text = self.exchange.keeps_text();
        if let Some(judging) = &mut self.judging {
            let bytes = std::task::ready!(judging.poll(context, &mut self.exchange, self.credentials.as_ref(), keeps_text));
            self.judging = None;
            return Poll::Ready(Some(Ok(bytes)));
        }
        if let Some(reading) = &mut self.reading {
            let scanned = std::task::ready!(reading.poll(context));
            let read = self.reading.take();
            return self.judge(|exchange, hooks| read.map(|read| read.judge(scanned, exchange, hooks, keeps_text)));
        }
        let Mode::Whole(assembler) = &mut self.mode else { return Poll::Ready(None) };
        match assembler.next_event() {
            None => {
                self.reservation.shrink(assembler.len());
                Poll::Ready(None)
            }
            Some(Err(too_large)) => {
                let bytes = event_redaction::deny_too_large(&too_large.partial, &mut self.exchange);
                // Every request of this exchange has been answered: a later answer would be a second one.
                self.is_last = true;
                Poll::Ready(Some(Ok(bytes)))
            }
            Some(Ok(event)) => self.judge(|exchange, hooks| Some(event_redaction::begin(event, exchange, hooks, keeps_text))),
        }
    }

    /// Goes on with an event. The chain is loaded for each message: a stream holds no generation.
    fn judge(&mut self, step: impl FnOnce(&mut Exchange, &Arc<HookSet>) -> Option<Step>) -> Poll<Option<Result<Bytes, Cut>>> {
        let hooks = self.exchange.shared.hooks.load_full();
        if hooks.lacks_required() {
            return Poll::Ready(Some(Err(self.cut(Outcome::Denied, Cut::Late))));
        }
        let mut written = Bytes::new();
        match step(&mut self.exchange, &hooks) {
            Some(Step::Write(bytes)) => written = bytes,
            Some(Step::Read(reading)) => self.reading = Some(reading),
            Some(Step::Wait(judging)) => self.judging = Some(judging),
            None => {}
        }
        Poll::Ready(Some(Ok(written)))
    }

    fn has_policies(&self) -> bool {
        self.exchange.shared.hooks.load().redaction.wants(Surface::Wire, Direction::ServerToClient, None, None)
    }

    /// Whether the stream passes in a coding, so that its events cannot be changed.
    fn is_coded(&self) -> bool {
        matches!(&self.mode, Mode::Pass(tap) if tap.decoder.is_some())
    }

    /// Takes bytes of the server: returns those that pass at once, and keeps the rest for `poll_events`.
    fn take_chunk(&mut self, mut chunk: Bytes) -> Bytes {
        let has_policies = self.has_policies();
        let keeps_text = self.exchange.keeps_text();
        match &mut self.mode {
            Mode::Whole(assembler) => {
                if !has_policies && assembler.is_empty() {
                    self.mode = Mode::Pass(Box::new(EventTap::new(keeps_text)));
                    return self.take_chunk(chunk);
                }
                assembler.push(chunk);
                Bytes::new()
            }
            Mode::Pass(tap) if !has_policies => {
                tap.see(&chunk, &mut self.exchange, keeps_text);
                chunk
            }
            Mode::Pass(tap) => {
                // A policy has come: what is left of the event under way had begun to pass before it was live.
                let passed = if tap.at_boundary { Bytes::new() } else { tap.feed_to_boundary(&mut chunk, &mut self.exchange, keeps_text) };
                if tap.at_boundary {
                    let mut assembler = SseAssembler::new(self.exchange.server.config.limits.message);
                    assembler.push(chunk);
                    self.mode = Mode::Whole(assembler);
                }
                passed
            }
        }
    }

    fn at_boundary(&self) -> bool {
        match &self.mode {
            Mode::Pass(tap) => tap.at_boundary,
            // Bytes of an unfinished event were not written yet, so the client is at a boundary.
            Mode::Whole(_) => self.judging.is_none() && self.reading.is_none(),
        }
    }

    fn write(&mut self, bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.exchange.response_bytes += bytes.len() as u64;
        // A session whose stream carries something is in use, however long its client asks nothing.
        if let Some(session) = self.exchange.session {
            self.exchange.server.touch_session(session);
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn end(&mut self) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Mode::Whole(assembler) = &mut self.mode {
            let rest = assembler.take_rest();
            if !rest.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
                // Half an event was held back; a regular end would hide that.
                return Poll::Ready(Some(Err(self.cut(Outcome::Aborted, Cut::HalfEvent))));
            }
            if !rest.is_empty() {
                // The line feed of a last CRLF: the event went out at its carriage return.
                return self.write(rest);
            }
        }
        self.finish(Outcome::Ok)
    }

    fn finish(&mut self, outcome: Outcome) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.is_over = true;
        self.exchange.finish(outcome);
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn cut(&mut self, outcome: Outcome, cut: Cut) -> Cut {
        self.is_over = true;
        self.exchange.finish(outcome);
        cut
    }
}

/// Why a stream ends although the server goes on.
#[derive(Clone, Copy)]
enum Summons {
    /// The gateway ends: at the next event.
    End,
    /// A required plugin is not live any more: at once.
    MustNotPass,
}

/// Resolves when the stream has to end, however idle it is.
async fn summons(shared: Arc<Shared>) -> Summons {
    let mut phase = shared.phase.subscribe();
    let mut swaps = shared.hooks.subscribe();
    loop {
        if shared.hooks.load().lacks_required() {
            return Summons::MustNotPass;
        }
        // An error of either means that its other end is gone, which ends streams too.
        tokio::select! {
            ended = async { phase.wait_for(|phase| *phase == Phase::EndStreams).await.map(drop) } => {
                let _ = ended;
                return Summons::End;
            }
            swapped = swaps.changed() => if swapped.is_err() { return Summons::End },
        }
    }
}

/// Reads along with a passing stream, in constant memory.
struct EventTap {
    parser: SseParser,
    message: JsonTap,
    /// A line has just ended, and no data has passed since the last blank line: an assembler can begin here.
    at_boundary: bool,
    has_data: bool,
    /// For a stream that passes in its coding: a copy is read.
    decoder: Option<Decoder>,
}

impl EventTap {
    fn new(keeps_text: bool) -> Self {
        Self { parser: SseParser::new(), message: JsonTap::new(keeps_text), at_boundary: true, has_data: false, decoder: None }
    }

    /// Reads a coded stream.
    fn decoding(mut self, codings: &[Coding]) -> Self {
        self.decoder = (!codings.is_empty()).then(|| Decoder::new(codings, OutputCap::PerPush(DECODED_AT_ONCE)));
        self
    }

    /// Sees the next bytes as they are on the wire.
    fn see(&mut self, chunk: &[u8], exchange: &mut Exchange, keeps_text: bool) {
        match &mut self.decoder {
            None => self.feed(chunk, exchange, keeps_text),
            Some(decoder) => match decoder.push(chunk) {
                Ok(decoded) => self.feed(&decoded, exchange, keeps_text),
                Err(_) => exchange.note_unread(),
            },
        }
    }

    fn feed(&mut self, chunk: &[u8], exchange: &mut Exchange, keeps_text: bool) {
        let Self { parser, message, at_boundary, has_data, decoder: _ } = self;
        parser.feed(chunk, &mut |part| match part {
            SsePart::Data(data) => {
                if !std::mem::replace(has_data, true) && keeps_text {
                    // What waits for this message may have come since the one before ended.
                    message.keep_text();
                }
                message.feed(data, exchange);
            }
            // Between two data lines the message has a line feed.
            SsePart::DataLineEnd => {
                *has_data = true;
                message.feed(b"\n", exchange);
            }
            SsePart::EventEnd { .. } => {
                message.finish(exchange);
                message.reset(keeps_text);
                *has_data = false;
            }
            SsePart::EventName(_) | SsePart::Id | SsePart::Retry | SsePart::Comment => {}
        });
        if let Some(last) = chunk.last() {
            *at_boundary = !*has_data && matches!(last, b'\n' | b'\r');
        }
    }

    /// Feeds line by line until an event ends; returns what was fed and leaves the rest in `chunk`.
    fn feed_to_boundary(&mut self, chunk: &mut Bytes, exchange: &mut Exchange, keeps_text: bool) -> Bytes {
        let whole = chunk.clone();
        let mut fed = 0;
        while fed < whole.len() && !(fed > 0 && self.at_boundary) {
            let line = memchr::memchr2(b'\n', b'\r', &whole[fed..]).map_or(whole.len(), |end| fed + end + 1);
            self.feed(&whole[fed..line], exchange, keeps_text);
            fed = line;
        }
        chunk.split_to(fed)
    }
}
