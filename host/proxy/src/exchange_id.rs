//! `X-Request-ID`: what the client calls an exchange, or the gateway where the client does not.

use http::{HeaderMap, HeaderName, HeaderValue};
use watchgate_telemetry::TraceId;

const NAME: HeaderName = HeaderName::from_static("x-request-id");

/// Bytes of a client's id that lines and spans have.
const LONGEST: usize = 128;

/// The id of one exchange: on the wire as it is, and in lines and spans as the policies leave it.
#[derive(Default)]
pub(crate) struct ExchangeId {
    /// Where clients are told.
    told: Option<HeaderValue>,
    /// What is recorded, before any policy has seen it.
    text: Option<Box<str>>,
    is_clients: bool,
}

impl ExchangeId {
    /// Of a request. `is_told`: clients are told the id, and one is made where they give none.
    pub(crate) fn of(headers: &HeaderMap, is_told: bool) -> Self {
        if let Some(value) = headers.get(&NAME) {
            // Only visible ASCII has a text, so every byte is a boundary.
            let text = value.to_str().ok().map(|text| text[..text.len().min(LONGEST)].into());
            return Self { told: is_told.then(|| value.clone()), text, is_clients: true };
        }
        if !is_told {
            return Self::default();
        }
        let text = TraceId::random().to_string();
        Self { told: HeaderValue::from_str(&text).ok(), text: Some(text.into()), is_clients: false }
    }

    /// What is recorded, and only after the policies have seen it where it is the client's.
    pub(crate) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// What is recorded, taken out.
    pub(crate) fn take_text(&mut self) -> Option<Box<str>> {
        self.text.take()
    }

    /// Whether the client gave it.
    pub(crate) fn is_clients(&self) -> bool {
        self.is_clients
    }

    /// Tells the server an id that the gateway made; the client's own is among the headers that it sent.
    pub(crate) fn tell_server(&self, headers: &mut HeaderMap) {
        if !self.is_clients {
            self.tell_client(headers);
        }
    }

    /// Tells the client.
    pub(crate) fn tell_client(&self, headers: &mut HeaderMap) {
        if let Some(id) = &self.told {
            headers.insert(NAME, id.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is recorded of an id, and what servers and clients are told where they are.
    fn check(given: &[u8], recorded: Option<&str>) {
        let headers = HeaderMap::from_iter([(NAME, HeaderValue::from_bytes(given).unwrap())]);
        let id = ExchangeId::of(&headers, true);
        assert_eq!((id.text(), id.is_clients()), (recorded, true));
        let (mut to_server, mut to_client) = (headers.clone(), HeaderMap::new());
        id.tell_server(&mut to_server);
        id.tell_client(&mut to_client);
        assert_eq!((&to_server, &to_client), (&headers, &headers));
        ExchangeId::of(&headers, false).tell_client(&mut to_client);
        assert_eq!(to_client, headers);
    }

    #[test]
    fn a_clients_id_stays_as_it_is_on_the_wire() {
        check(b"r-1", Some("r-1"));
        check(b"", Some(""));
        let long = "x".repeat(200);
        check(long.as_bytes(), Some(&long[..128]));
        check("ü".as_bytes(), None);
    }

    #[test]
    fn an_id_is_made_where_there_is_none_and_clients_are_told() {
        let (mut to_server, mut to_client) = (HeaderMap::new(), HeaderMap::new());
        let made = ExchangeId::of(&to_server, true);
        made.tell_server(&mut to_server);
        made.tell_client(&mut to_client);
        assert_eq!(to_server, to_client);
        assert_eq!((to_server[&NAME].to_str().ok(), made.is_clients()), (made.text(), false));
        assert_eq!(ExchangeId::of(&HeaderMap::new(), false).text(), None);
    }
}
