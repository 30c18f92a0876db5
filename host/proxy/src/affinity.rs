//! Session ids that carry the tag of the endpoint they belong to.
//!
//! An endpoint's tag depends on nothing but its authority, so every replica of the gateway, now and after a restart, sends a session where it
//! lives. The tag stands at the end, after a `~`: `4f9c…` becomes `4f9c…~mzxw6y`. `~` and the tag's letters are visible ASCII and stay as they
//! are in a URL, so what carries the session can be a header's value or the URL of HTTP+SSE.

use http::HeaderValue;
use sha2::{Digest, Sha256};

/// Stands between an id and its tag.
const MARK: u8 = b'~';

/// Base 32 of RFC 4648, in lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Letters of a tag, five bits each. With 30 bits, two endpoints of a server have the same tag once in a thousand million pairs.
const TAG_LETTERS: usize = 6;

/// What tells the endpoints of a server apart. Holds letters of the alphabet only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tag([u8; TAG_LETTERS]);

impl Tag {
    /// The tag of the endpoint with this authority (`host:port`, in any case).
    pub(crate) fn of(authority: &str) -> Self {
        let digest = Sha256::digest(authority.to_ascii_lowercase());
        let bits = u32::from_be_bytes([0, 1, 2, 3].map(|at| digest[at]));
        Self(std::array::from_fn(|letter| ALPHABET[(bits >> (27 - 5 * letter) & 31) as usize]))
    }

    /// Writes the mark and the tag behind an id.
    pub(crate) fn append_to(self, id: &mut String) {
        id.push(char::from(MARK));
        id.extend(self.0.map(char::from));
    }
}

/// The id that the client sees.
pub(crate) fn tag(session: &HeaderValue, tag: Tag) -> HeaderValue {
    let mut tagged = Vec::with_capacity(session.len() + 1 + TAG_LETTERS);
    tagged.extend_from_slice(session.as_bytes());
    tagged.push(MARK);
    tagged.extend_from_slice(&tag.0);
    // What may stand in a header value still may with seven letters more.
    HeaderValue::from_maybe_shared(bytes::Bytes::from(tagged)).unwrap_or_else(|_| session.clone())
}

/// The id that the server knows, and the index in `tags` of the endpoint that it belongs to. An id without the tag of one of these endpoints
/// is given back as it is: the server it is sent to says itself that it does not know it.
pub(crate) fn untag(session: &[u8], tags: impl IntoIterator<Item = Tag>) -> (&[u8], Option<usize>) {
    if let Some((rest, last)) = session.split_last_chunk::<TAG_LETTERS>()
        && let Some((&MARK, id)) = rest.split_last()
        && let Some(index) = tags.into_iter().position(|tag| tag.0 == *last)
    {
        return (id, Some(index));
    }
    (session, None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn tags() -> [Tag; 3] {
        ["10.0.0.1:3001", "10.0.0.2:3001", "10.0.0.3:3001"].map(Tag::of)
    }

    fn check(session: &[u8], expected: (&[u8], Option<usize>)) {
        assert_eq!(untag(session, tags()), expected, "{}", String::from_utf8_lossy(session));
    }

    #[test]
    fn a_tag_is_the_same_everywhere_and_for_ever() {
        // The first 30 bits of the SHA-256 of "localhost:3001", which is 288597b6….
        assert_eq!(Tag::of("localhost:3001"), Tag::of("LOCALHOST:3001"));
        assert_eq!(tag(&HeaderValue::from_static("id"), Tag::of("localhost:3001")), "id~fcczpn");
    }

    #[test]
    fn ids_without_a_known_tag_stay_as_they_are() {
        check(b"", (b"", None));
        check(b"~", (b"~", None));
        check(b"4f9c2a", (b"4f9c2a", None));
        check(b"4f9c2a~aaaaaa", (b"4f9c2a~aaaaaa", None));
        check(b"4f9c2a-mzxw6y", (b"4f9c2a-mzxw6y", None));
        check(b"\xff~\xff\xff\xff\xff\xff\xff", (b"\xff~\xff\xff\xff\xff\xff\xff", None));
        let of_another = tag(&HeaderValue::from_static("id"), Tag::of("10.0.0.4:3001"));
        check(of_another.as_bytes(), (of_another.as_bytes(), None));
    }

    #[test]
    fn only_the_last_tag_is_taken_off() {
        let [first, second, _] = tags();
        let inner = tag(&HeaderValue::from_static("id"), first);
        check(tag(&inner, second).as_bytes(), (inner.as_bytes(), Some(1)));
    }

    proptest! {
        #[test]
        fn every_id_comes_back(id in "[!-~]{0,80}", index in 0usize..3) {
            let tagged = tag(&HeaderValue::from_str(&id).unwrap(), tags()[index]);
            prop_assert!(tagged.as_bytes().iter().all(|byte| (0x21..=0x7e).contains(byte)));
            prop_assert_eq!(untag(tagged.as_bytes(), tags()), (id.as_bytes(), Some(index)));
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let (id, index) = untag(&bytes, tags());
            prop_assert!(bytes.starts_with(id) && (index.is_some() || id == bytes));
        }
    }
}
