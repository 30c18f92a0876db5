//! Keeps the headers that mirror a request (`mcp-name`, `mcp-param-*`) true when the request was edited.
//!
//! A server compares them with the body, and refuses a request in which they differ; and a secret that was masked in the body must not go on
//! in a header. A header follows the value that it was equal to; where it is not clear which one that is, the message is denied.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use watchgate_mcp::{header, json};

use crate::message::MirroredHeader;
use crate::scalars::{self, TooDeep};

/// Places of `mcp-name`: each method has one of them. A body may hold several that are equal; then all must change alike.
const NAME_POINTERS: [&str; 5] = ["/params/name", "/params/uri", "/params/taskId", "/params/ref/name", "/params/ref/uri"];

/// How many places with the value of one header are followed. An argument list with more of them is not one that a person wrote.
const MAX_PLACES: usize = 10_000;

/// A header that cannot be derived again. The plugin that edited is named with it; nobody made a mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header `{header}` mirrors a value that was edited and cannot be derived again")]
pub(crate) struct CannotDerive {
    /// Lower-case name.
    pub(crate) header: Box<str>,
}

/// All headers as they must be with `new`, or `None` when none of them changes.
pub(crate) fn derive(old: &[u8], new: &[u8], headers: &[MirroredHeader]) -> Result<Option<Vec<MirroredHeader>>, CannotDerive> {
    let hasher = RandomState::new();
    let mut derived = Vec::with_capacity(headers.len());
    for mirrored in headers {
        let followed = if &*mirrored.name == header::MCP_NAME {
            follow_name(old, new, &mirrored.value)
        } else {
            follow_argument(old, new, &mirrored.value, &hasher)
        };
        let value = match followed {
            Followed::To(value) => value,
            // The header mirrors something unknown. While the parameters are as they were, so is that.
            Followed::Nothing if value_at(old, "/params") == value_at(new, "/params") => mirrored.value.clone(),
            Followed::Nothing | Followed::Lost => return Err(CannotDerive { header: mirrored.name.clone() }),
        };
        derived.push(MirroredHeader { name: mirrored.name.clone(), value });
    }
    Ok((derived != headers).then_some(derived))
}

enum Followed {
    /// The value that the header must have now.
    To(Box<str>),
    /// No value of the old body equals the header.
    Nothing,
    /// A place is gone, or the places do not agree.
    Lost,
}

fn follow_name(old: &[u8], new: &[u8], value: &str) -> Followed {
    let mut now: Option<Box<str>> = None;
    for pointer in NAME_POINTERS {
        if value_at(old, pointer).and_then(scalars::text).as_deref() != Some(value) {
            continue;
        }
        match (value_at(new, pointer).and_then(scalars::text), &now) {
            (Some(text), Some(other)) if **other != *text => return Followed::Lost,
            (Some(text), _) => now = Some(text.into()),
            (None, _) => return Followed::Lost,
        }
    }
    now.map_or(Followed::Nothing, Followed::To)
}

/// Follows every scalar below `params.arguments` that equals `value`. Places are told by a keyed hash of their path: it costs one pass over
/// each body, and nobody can make two paths collide.
fn follow_argument(old: &[u8], new: &[u8], value: &str, hasher: &impl BuildHasher) -> Followed {
    let Some(arguments) = value_at(old, "/params/arguments") else { return Followed::Nothing };
    let mut places: HashMap<u64, bool> = HashMap::new();
    let collected = scalars::visit(arguments, hasher, |path, range: Range<usize>| {
        if places.len() <= MAX_PLACES && scalars::text(&arguments[range]).as_deref() == Some(value) {
            places.insert(path, false);
        }
    });
    match collected {
        Err(TooDeep) => return Followed::Lost,
        Ok(()) if places.is_empty() => return Followed::Nothing,
        Ok(()) if places.len() > MAX_PLACES => return Followed::Lost,
        Ok(()) => {}
    }
    let Some(arguments) = value_at(new, "/params/arguments") else { return Followed::Lost };
    let mut now: Option<Box<str>> = None;
    let mut agree = true;
    let visited = scalars::visit(arguments, hasher, |path, range| {
        let Some(seen) = places.get_mut(&path) else { return };
        *seen = true;
        match (scalars::text(&arguments[range]), &now) {
            (Some(text), Some(other)) => agree &= **other == *text,
            (Some(text), None) => now = Some(text.into()),
            (None, _) => agree = false,
        }
    });
    let complete = visited.is_ok() && agree && places.values().all(|seen| *seen);
    now.filter(|_| complete).map_or(Followed::Lost, Followed::To)
}

fn value_at<'a>(body: &'a [u8], pointer: &str) -> Option<&'a [u8]> {
    json::locate(body, pointer).ok().map(|range| &body[range])
}

/// What a request names after an edit: see [`watchgate_mcp::method::name_field`]. `None` when it names nothing any more.
pub(crate) fn name_of(body: &[u8], method: &str) -> Option<Box<str>> {
    use watchgate_mcp::method::NameField;
    let pointers: &[&str] = match watchgate_mcp::method::name_field(method)? {
        NameField::Name => &["/params/name"],
        NameField::Uri => &["/params/uri"],
        NameField::Reference => &["/params/ref/name", "/params/ref/uri"],
        NameField::TaskId => &["/params/taskId"],
    };
    let text = pointers.iter().find_map(|pointer| scalars::text(value_at(body, pointer)?))?;
    Some(text[..text.floor_char_boundary(MAX_NAME_BYTES)].into())
}

/// As for the envelope of a message that nobody edited.
const MAX_NAME_BYTES: usize = 256;
