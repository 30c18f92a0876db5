//! The endpoint event of HTTP+SSE (2024-11-05), rewritten for mounted servers.
//!
//! The first event of such a stream names the URL that the client is to post its messages to. Where the server's own idea of that URL does not
//! lead back through the gateway, this puts one in its place that does. All other bytes of the stream pass as they are, and once the first
//! event has passed, untouched.

pub(crate) mod mounting;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};
use watchgate_mcp::sse::{SseAssembler, SseEvent};

use self::mounting::Mounting;
use self::reference::{Reference, same_authority};
use crate::affinity::Tag;

/// No first event that is larger is held back: the URL in it is a line.
const MAX_FIRST_EVENT: usize = 16 << 10;

/// Where a stream was opened.
#[derive(Clone, Debug)]
pub(crate) struct StreamPlace {
    pub(crate) mounting: Mounting,
    /// The path that the client asked the gateway for.
    pub(crate) client_path: String,
    /// The path that the server was asked for.
    pub(crate) server_path: String,
    /// Authorities that are the server itself: its endpoint's, and the `Host` that it was sent.
    pub(crate) own_authorities: Vec<String>,
    /// The endpoint's, where the messages must reach the same one of several.
    pub(crate) tag: Option<Tag>,
}

/// What became of the endpoint event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rewritten {
    /// It has not come; most streams have none.
    NotYet,
    /// The first event of the stream was another one, or larger than any endpoint event.
    NoEndpoint,
    /// It led to the right place already, or leads to a server that the gateway does not know.
    Kept,
    /// It leads through the gateway now.
    Changed,
    /// It names a path of the server that no path below the mount leads to; it was kept, and will not work. The operator has to configure the
    /// server's URL without that path.
    Unreachable,
}

/// A filter for the bytes of one stream.
pub(crate) struct EndpointRewrite {
    /// Until the first event has passed.
    waiting: Option<Box<(SseAssembler, StreamPlace)>>,
    rewritten: Rewritten,
    messages: Option<String>,
}

impl EndpointRewrite {
    /// For the answer to a GET.
    pub(crate) fn new(place: StreamPlace) -> Self {
        Self { waiting: Some(Box::new((SseAssembler::new(MAX_FIRST_EVENT), place))), rewritten: Rewritten::NotYet, messages: None }
    }

    /// Takes the next bytes of the stream, and gives those that can go on. While the first event is not whole, it is held back.
    pub(crate) fn feed(&mut self, chunk: Bytes) -> Bytes {
        let Some(waiting) = &mut self.waiting else { return chunk };
        let (events, place) = &mut **waiting;
        events.push(chunk);
        let mut out = BytesMut::new();
        while let Some(event) = events.next_event() {
            let (bytes, rewritten) = match event {
                // A comment, or an event that clients do not see.
                Ok(event) if event.data().is_none_or(|data| data.is_empty()) => (event.into_raw(), Rewritten::NotYet),
                Ok(event) => {
                    let (bytes, rewritten, messages) = rewrite_event(event, place);
                    self.messages = messages;
                    (bytes, rewritten)
                }
                Err(too_large) => (too_large.partial.into_raw(), Rewritten::NoEndpoint),
            };
            out.extend_from_slice(&bytes);
            if rewritten != Rewritten::NotYet {
                out.extend_from_slice(&events.take_rest());
                self.rewritten = rewritten;
                self.waiting = None;
                break;
            }
        }
        out.freeze()
    }

    /// What was held back when the stream ended.
    pub(crate) fn finish(&mut self) -> Bytes {
        self.waiting.take().map_or_else(Bytes::new, |mut waiting| waiting.0.take_rest())
    }

    /// What became of the event; it changes once at most, by [`Self::feed`].
    pub(crate) fn rewritten(&self) -> Rewritten {
        self.rewritten
    }

    /// The path and query that this server is asked for when the client posts to the URL that it was given, where that leads here.
    pub(crate) fn take_messages(&mut self) -> Option<String> {
        self.messages.take()
    }
}

/// What the client gets, what became of the event, and where clients of the stream post to.
fn rewrite_event(event: SseEvent, place: &StreamPlace) -> (Bytes, Rewritten, Option<String>) {
    let data = event.data().filter(|_| event.event_name().as_deref() == Some("endpoint"));
    let Some(data) = data else { return (event.into_raw(), Rewritten::NoEndpoint, None) };
    let Ok(text) = str::from_utf8(&data) else { return (event.into_raw(), Rewritten::Kept, None) };
    let text = text.trim_ascii();
    let new = match place.rewrite(text) {
        Ok(Some(new)) => new,
        Ok(None) => {
            let messages = place.messages(text);
            return (event.into_raw(), Rewritten::Kept, messages);
        }
        Err(Unreachable) => return (event.into_raw(), Rewritten::Unreachable, None),
    };
    // Data of one line is a part of the event's own bytes; data of several holds line feeds, and is no URL.
    let raw = event.raw();
    let Some(start) = (text.as_ptr() as usize).checked_sub(raw.as_ptr() as usize).filter(|start| start + text.len() <= raw.len()) else {
        return (event.into_raw(), Rewritten::Kept, None);
    };
    let mut bytes = Vec::with_capacity(raw.len() + new.len());
    bytes.extend_from_slice(&raw[..start]);
    bytes.extend_from_slice(new.as_bytes());
    bytes.extend_from_slice(&raw[start + text.len()..]);
    (bytes.into(), Rewritten::Changed, place.messages(&new))
}

/// No path below the mount leads there.
#[derive(Debug, PartialEq, Eq)]
struct Unreachable;

impl StreamPlace {
    /// What to write in place of the URL `text`, if anything.
    fn rewrite(&self, text: &str) -> Result<Option<String>, Unreachable> {
        let Some(reference) = Reference::parse(text) else { return Ok(None) };
        if reference.authority.is_some_and(|authority| !self.own_authorities.iter().any(|own| same_authority(own, authority))) {
            return Ok(None);
        }
        let mut target = reference.resolve(&self.server_path);
        if target.is_empty() {
            target.push('/');
        }
        let is_right = reference.authority.is_none() && self.leads_to(&reference, &target);
        if is_right && self.tag.is_none() {
            return Ok(None);
        }
        // Only a path: the client may have come by another scheme, host or port than the server knows of.
        let path = match self.mounting.told(&target) {
            _ if is_right => reference.path.to_owned(),
            Some(path) => path,
            None => self.mounting.to_client(&target).ok_or(Unreachable)?,
        };
        Ok(Some(self.with_tag(path, reference.rest)))
    }

    /// The path and query that the server is asked for when a client posts to `url`, as it was given it. `None` for one that leads past the gateway.
    fn messages(&self, url: &str) -> Option<String> {
        let reference = Reference::parse(url).filter(|reference| reference.authority.is_none())?;
        let mut target = self.mounting.seen_to_server(&reference.resolve(&self.client_path))?;
        if target.is_empty() {
            target.push('/');
        }
        let query = reference.rest.split('#').next().unwrap_or_default();
        Some(target + query)
    }

    /// Whether the reference, as the client resolves it, leads to this path of the server.
    fn leads_to(&self, reference: &Reference<'_>, target: &str) -> bool {
        let seen = reference.resolve(&self.client_path);
        match self.mounting.told(target) {
            Some(path) => seen == path,
            None => self.mounting.to_server(&seen).as_deref() == Some(target),
        }
    }

    fn with_tag(&self, path: String, rest: &str) -> String {
        let (query, fragment) = rest.split_at(rest.find('#').unwrap_or(rest.len()));
        let mut url = path + query;
        if let Some(tag) = self.tag {
            tag.append_to(&mut url);
        }
        url + fragment
    }
}
