//! Where in a body a value stands.

use super::escape::decode;
use super::walk::{JsonError, Kind, Token, Walker};
use std::borrow::Cow;
use std::ops::Range;

/// Why [`locate`] finds nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocateError {
    /// The body is not JSON.
    #[error(transparent)]
    NotJson(#[from] JsonError),
    /// The pointer is not one of RFC 6901.
    #[error("not a JSON pointer")]
    BadPointer,
    /// The body has no value there.
    #[error("the body has no value at this pointer")]
    NotFound,
}

/// The range of the value that `pointer` (RFC 6901) points at, quotes or brackets included, without white space around it. Reads the
/// body once, whatever the pointer. Of equal keys the last one counts, even where only an earlier one holds the rest of the path.
///
/// # Errors
/// When the body is not JSON, the pointer is malformed, or nothing stands there.
pub fn locate(body: &[u8], pointer: &str) -> Result<Range<usize>, LocateError> {
    let mut search = Search { body, wanted: segments(pointer)?, path: Vec::new(), next_key_wanted: false, open: None, found: None };
    let mut walker = Walker::new(body);
    loop {
        let depth = walker.depth();
        match walker.next() {
            Some(token) => search.take(&token?, depth),
            None => return search.found.ok_or(LocateError::NotFound),
        }
    }
}

fn segments(pointer: &str) -> Result<Vec<Cow<'_, str>>, LocateError> {
    let Some(rest) = pointer.strip_prefix('/') else {
        return if pointer.is_empty() { Ok(Vec::new()) } else { Err(LocateError::BadPointer) };
    };
    rest.split('/').map(unescape).collect()
}

fn unescape(segment: &str) -> Result<Cow<'_, str>, LocateError> {
    if !segment.contains('~') {
        return Ok(Cow::Borrowed(segment));
    }
    let valid = segment.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
    if !valid {
        return Err(LocateError::BadPointer);
    }
    // In this order, so that `~01` stands for `~1`.
    Ok(Cow::Owned(segment.replace("~1", "/").replace("~0", "~")))
}

/// The state of one [`locate`].
struct Search<'a> {
    body: &'a [u8],
    wanted: Vec<Cow<'a, str>>,
    /// The open containers that lie on the wanted path; a container is one of them exactly when all around it are.
    path: Vec<Step>,
    next_key_wanted: bool,
    /// Start and depth of the wanted container while it is open.
    open: Option<(usize, usize)>,
    found: Option<Range<usize>>,
}

enum Step {
    Object,
    /// Holds the index of the next element.
    Array(usize),
}

impl Search<'_> {
    /// `depth` is how many containers are open before the token.
    fn take(&mut self, token: &Token, depth: usize) {
        let on_path = depth == self.path.len();
        match token.kind {
            Kind::Key => {
                if on_path {
                    self.next_key_wanted = self.key_wanted(token);
                    if self.next_key_wanted {
                        self.found = None;
                    }
                }
            }
            Kind::ObjectEnd | Kind::ArrayEnd => {
                if on_path {
                    self.path.pop();
                }
                if let Some((start, _)) = self.open.take_if(|(_, outside)| *outside == depth - 1) {
                    self.found = Some(start..token.range.end);
                }
            }
            Kind::ObjectStart => self.value(token, on_path, Some(Step::Object), depth),
            Kind::ArrayStart => self.value(token, on_path, Some(Step::Array(0)), depth),
            Kind::String | Kind::Scalar => self.value(token, on_path, None, depth),
        }
    }

    fn value(&mut self, token: &Token, parent_on_path: bool, container: Option<Step>, depth: usize) {
        if !(parent_on_path && self.value_wanted()) {
            return;
        }
        let is_target = self.path.len() == self.wanted.len();
        match container {
            None if is_target => self.found = Some(token.range.clone()),
            None => {}
            Some(_) if is_target => self.open = Some((token.range.start, depth)),
            Some(step) => self.path.push(step),
        }
    }

    /// Whether the value that starts now, in the innermost container of the path, lies on the path too.
    fn value_wanted(&mut self) -> bool {
        let wanted = self.path.len().checked_sub(1).map(|level| &*self.wanted[level]);
        match (self.path.last_mut(), wanted) {
            (Some(Step::Array(next)), Some(wanted)) => {
                let index = *next;
                *next += 1;
                array_index(wanted) == Some(index)
            }
            (Some(Step::Object), _) => self.next_key_wanted,
            _ => true,
        }
    }

    fn key_wanted(&self, token: &Token) -> bool {
        let content = &self.body[token.range.start + 1..token.range.end - 1];
        let Some(wanted) = self.path.len().checked_sub(1).and_then(|level| self.wanted.get(level)) else { return false };
        if token.has_escape { decode(content).is_some_and(|key| key == *wanted) } else { content == wanted.as_bytes() }
    }
}

fn array_index(segment: &str) -> Option<usize> {
    let plain = segment.bytes().all(|byte| byte.is_ascii_digit()) && (segment == "0" || !segment.starts_with('0'));
    if plain { segment.parse().ok() } else { None }
}

/// One member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The key's content, without quotes.
    pub key: Range<usize>,
    /// The value, quotes or brackets included.
    pub value: Range<usize>,
}

/// The ranges of the elements of the array that `body` is; `None` when it is not a JSON array. Takes 16 bytes of memory an element.
pub fn array_elements(body: &[u8]) -> Option<Vec<Range<usize>>> {
    let mut elements = Vec::new();
    children(body, Kind::ArrayStart, |_, value| elements.push(value))?;
    Some(elements)
}

/// The members of the object that `body` is, in order and with duplicates; `None` when it is not a JSON object.
pub fn object_members(body: &[u8]) -> Option<Vec<Member>> {
    let mut members = Vec::new();
    children(body, Kind::ObjectStart, |key, value| members.push(Member { key, value }))?;
    Some(members)
}

/// Calls `each` with the key's content (of an element: nothing useful) and the value of every child of the outermost container.
fn children(body: &[u8], container: Kind, mut each: impl FnMut(Range<usize>, Range<usize>)) -> Option<()> {
    let mut key = 0..0;
    let mut start = 0;
    let mut walker = Walker::new(body);
    loop {
        let depth = walker.depth();
        let Some(token) = walker.next() else { return Some(()) };
        let token = token.ok()?;
        match (depth, token.kind) {
            (0, kind) if kind != container => return None,
            (1, Kind::Key) => key = token.range.start + 1..token.range.end - 1,
            (1, Kind::String | Kind::Scalar) => each(key.clone(), token.range),
            (1, Kind::ObjectStart | Kind::ArrayStart) => start = token.range.start,
            (2, Kind::ObjectEnd | Kind::ArrayEnd) => each(key.clone(), start..token.range.end),
            _ => {}
        }
    }
}
