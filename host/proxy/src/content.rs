//! What tool calls say, made fit to be recorded: members with telling names masked, and the rest left to the policies.

mod cut;
mod strings;

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;
use watchgate_telemetry::log::MaskedFields;

use crate::clearing::Room;
use crate::operation::TEXT_CAP;

/// Behind a text that is not all there.
const ELLIPSIS: char = '…';
/// The messages of a call as they passed on the wire, after redaction there; each cut at [`TEXT_CAP`].
pub(crate) struct Captured {
    /// Of the client.
    request: Option<Bytes>,
    /// Of the server, when there was an answer.
    answer: Option<Bytes>,
    /// Their room among those that wait.
    _room: Option<Room>,
}

/// What is to be shown to the policies.
#[derive(Debug, PartialEq)]
pub(crate) struct Content {
    value: Value,
    /// Whether it is only the beginning.
    is_cut: bool,
}

/// A text that cannot be read, and so not be masked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl Captured {
    /// What was said in a call.
    pub(crate) fn new(request: Option<Bytes>, answer: Option<Bytes>) -> Self {
        Self { request, answer, _room: None }
    }

    /// What they hold.
    pub(crate) fn bytes(&self) -> usize {
        [&self.request, &self.answer].into_iter().flatten().map(Bytes::len).sum()
    }

    /// The same, with room to wait in.
    pub(crate) fn within(self, room: Room) -> Self {
        Self { _room: Some(room), ..self }
    }

    /// The arguments of the call, if it has any.
    pub(crate) fn arguments(&self, masked: &MaskedFields) -> Result<Option<Content>, Unreadable> {
        let Some(text) = &self.request else { return Ok(None) };
        content(text, masked, |message| message.get_mut("params")?.get_mut("arguments").map(Value::take))
    }

    /// The result or the error.
    pub(crate) fn result(&self, masked: &MaskedFields) -> Result<Option<Content>, Unreadable> {
        let Some(text) = &self.answer else { return Ok(None) };
        content(text, masked, |message| {
            let member = if message.get("error").is_some() { "error" } else { "result" };
            message.get_mut(member).map(Value::take)
        })
    }
}

impl Content {
    /// From the inside: JSON within strings within strings, at last the text itself.
    pub(crate) fn depths() -> impl Iterator<Item = u32> {
        (0..=strings::DEPTHS).rev()
    }

    /// The strings at one depth that its text shows escaped. Policies are shown them as they are, before they see the text.
    pub(crate) fn strings(&mut self, depth: u32) -> Result<Vec<String>, Unreadable> {
        strings::at(&mut self.value, depth).map_err(|_| Unreadable)
    }

    /// Puts what they left of them in place.
    pub(crate) fn put_strings(&mut self, depth: u32, cleared: Vec<String>) {
        strings::put(&mut self.value, depth, cleared);
    }

    /// The text. Escapes have been read and only those are written again that JSON demands, so that a letter cannot hide
    /// behind one.
    pub(crate) fn text(&self) -> String {
        self.value.to_string()
    }

    /// What they left of it, cut.
    pub(crate) fn finished(&self, mut cleared: String, most: usize) -> String {
        let is_longer = cleared.len() > most;
        if is_longer {
            cleared.truncate(cleared.floor_char_boundary(most));
        }
        if is_longer || self.is_cut {
            cleared.push(ELLIPSIS);
        }
        cleared
    }
}

fn content(text: &[u8], masked: &MaskedFields, take: impl Fn(&mut Value) -> Option<Value>) -> Result<Option<Content>, Unreadable> {
    let is_cut = text.len() >= TEXT_CAP;
    let read = if is_cut { cut::read(text) } else { serde_json::from_slice(text).ok() };
    let mut message = read.ok_or(Unreadable)?;
    let Some(mut value) = take(&mut message) else { return Ok(None) };
    mask(&mut value, masked, strings::DEPTHS);
    Ok(Some(Content { value, is_cut }))
}

/// Masks what stands under telling names, at any depth, and in JSON within strings: structured results are said a second time as text. The depth is
/// that of a text that was read, which is bounded.
fn mask(value: &mut Value, masked: &MaskedFields, nested: u32) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if masked.masks(name) {
                    *value = Value::from(MaskedFields::MASK);
                } else {
                    mask(value, masked, nested);
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| mask(element, masked, nested)),
        Value::String(text) => {
            let inner = if nested > 0 { strings::json_in(text) } else { None };
            let Some(mut inner) = inner else {
                if let Cow::Owned(shown) = masked.mask_urls(text) {
                    *text = shown;
                }
                return;
            };
            let before = inner.clone();
            mask(&mut inner, masked, nested - 1);
            if inner != before {
                *text = inner.to_string();
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(message: &str) -> Result<Option<String>, Unreadable> {
        let captured = Captured { request: Some(Bytes::copy_from_slice(message.as_bytes())), answer: None, _room: None };
        let content = captured.arguments(&MaskedFields::with(["iban"]))?;
        Ok(content.map(|content| content.text()))
    }

    #[test]
    fn telling_members_are_masked_wherever_they_stand() {
        let check = |arguments_text: &str, expected: &str| {
            let message = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"arguments":{arguments_text}}}}}"#);
            assert_eq!(arguments(&message), Ok(Some(expected.to_owned())), "{arguments_text}");
        };
        check(r#"{"city":"Bern"}"#, r#"{"city":"Bern"}"#);
        check(r#"{"api_key":"x","a":[{"Password":{"old":1}}]}"#, r#"{"a":[{"Password":"***"}],"api_key":"***"}"#);
        check(r#"{"\u0069ban":["x"]}"#, r#"{"iban":"***"}"#);
        // Escapes hide nothing from the policies.
        check(r#"{"t":"\u0073k-1\/2"}"#, r#"{"t":"sk-1/2"}"#);
        check("7", "7");
        // As servers repeat structured results.
        check(
            r#"{"text":" {\"a\": [1, {\"accessToken\": \"x\"}]}","json":"{\"a\": 1}"}"#,
            r#"{"json":"{\"a\": 1}","text":"{\"a\":[1,{\"accessToken\":\"***\"}]}"}"#,
        );
        check(r#"{"text":"{not JSON: password}"}"#, r#"{"text":"{not JSON: password}"}"#);
        check(r#"{"u":"https://a:b@x/?api_key=c&page=2"}"#, r#"{"u":"https://***@x/?api_key=***&page=2"}"#);
        check(r#"{"j":"{\"u\":\"https://x/?token=c\"}"}"#, r#"{"j":"{\"u\":\"https://x/?token=***\"}"}"#);
        check(r#"{"max_tokens":7,"progressToken":1,"apikeys":[1]}"#, r#"{"apikeys":"***","max_tokens":7,"progressToken":1}"#);
    }

    #[test]
    fn what_cannot_be_read_is_not_recorded() {
        assert_eq!(arguments("{"), Err(Unreadable));
        assert_eq!(arguments(&"[".repeat(4000)), Err(Unreadable));
        assert_eq!(arguments("{}"), Ok(None));
        assert_eq!(arguments(r#"{"params":[1]}"#), Ok(None));
        let nothing = Captured { request: None, answer: None, _room: None };
        assert_eq!((nothing.arguments(&MaskedFields::default()), nothing.result(&MaskedFields::default())), (Ok(None), Ok(None)));
    }

    #[test]
    fn results_and_errors_are_told_apart() {
        let check = |answer: &str, expected: &str| {
            let captured = Captured { request: None, answer: Some(Bytes::copy_from_slice(answer.as_bytes())), _room: None };
            let content = captured.result(&MaskedFields::default()).unwrap().unwrap();
            assert_eq!(content.text(), expected);
        };
        check(r#"{"id":1,"result":{"isError":true}}"#, r#"{"isError":true}"#);
        check(r#"{"id":1,"error":{"code":-1,"data":{"token":1}}}"#, r#"{"code":-1,"data":{"token":"***"}}"#);
    }

    #[test]
    fn long_texts_are_cut_and_say_so() {
        let check = |is_cut: bool, cleared: &str, most: usize, expected: &str| {
            let content = Content { value: Value::Null, is_cut };
            assert_eq!(content.finished(cleared.to_owned(), most), expected, "{cleared} {most}");
        };
        check(false, "abc", 3, "abc");
        check(false, "abc", 2, "ab…");
        check(false, "aé", 2, "a…");
        check(true, "abc", 3, "abc…");
    }

    #[test]
    fn of_a_message_that_was_cut_the_beginning_is_recorded() {
        let long = "x".repeat(TEXT_CAP);
        let message = format!(r#"{{"params":{{"arguments":{{"a":1,"password":"{long}"}}}}}}"#);
        assert_eq!(arguments(&message[..TEXT_CAP]), Ok(Some(r#"{"a":1,"password":"***"}"#.to_owned())));
        // The beginning of a secret that no policy could recognise, whose member sorts before others.
        let message = format!(r#"{{"params":{{"arguments":{{"z":"{}","auth":"AKIAIOSFODNN7EXAMPLE"}}}}}}"#, &long[..TEXT_CAP - 50]);
        assert_eq!(message[..TEXT_CAP].matches("AKIA").count(), 1);
        assert!(!arguments(&message[..TEXT_CAP]).unwrap().unwrap().contains("AKIA"));
    }
}
