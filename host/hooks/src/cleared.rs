//! Text of messages that may leave as telemetry, because the live policies have seen it.

use std::sync::Arc;

use watchgate_mcp::{Direction, json};

use crate::chain::{ChainResult, DenyReason, RedactionChain};
use crate::envelope_check;
use crate::message::{Kind, Message, Surface};

/// Text that passed the telemetry surface. Only this module makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleared(String);

impl Cleared {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, owned.
    pub fn into_string(self) -> String {
        self.0
    }
}

/// Texts about one message or operation, not cleared yet. `N` is what names a field.
#[derive(Clone, Debug)]
pub struct UnclearedRecord<N = &'static str> {
    /// The configured name of the server.
    pub server: Arc<str>,
    /// Who sent the message.
    pub direction: Direction,
    /// Its method, when known.
    pub method: Option<Box<str>>,
    /// What it names, when known.
    pub name: Option<Box<str>>,
    /// Field names, each once, and their texts.
    pub fields: Vec<(N, String)>,
}

/// What is left of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClearedRecord<N = &'static str> {
    /// All fields, in the order given.
    Fields(Vec<(N, Cleared)>),
    /// A policy denied it: the whole record is to be dropped.
    Denied,
    /// A policy failed: the fields are lost, the rest of the record may go on.
    Failed,
}

/// Shows all fields of one record to the policies at once. Without a policy for the telemetry surface the texts pass as they are.
pub async fn clear<N: AsRef<str>>(chain: &RedactionChain, record: UnclearedRecord<N>) -> ClearedRecord<N> {
    let UnclearedRecord { server, direction, method, name, fields } = record;
    let as_they_are =
        |fields: Vec<(N, String)>| ClearedRecord::Fields(fields.into_iter().map(|(field, text)| (field, Cleared(text))).collect());
    if fields.is_empty() || !chain.wants(Surface::Telemetry, direction, method.as_deref(), name.as_deref()) {
        return as_they_are(fields);
    }
    let body = body_of(&fields).into();
    let message = Message { body, kind: Kind::Fields, direction, surface: Surface::Telemetry, server, method, name, headers: Vec::new() };
    match chain.run(message).await {
        ChainResult::Unchanged => as_they_are(fields),
        ChainResult::Changed(body, _) => {
            // The chain has checked that the keys are the same.
            let Some(mut cleared) = envelope_check::fields(&body) else { return ClearedRecord::Failed };
            let texts = fields.into_iter().map(|(field, _)| {
                let text = cleared.remove(field.as_ref())?;
                Some((field, Cleared(text)))
            });
            texts.collect::<Option<_>>().map_or(ClearedRecord::Failed, ClearedRecord::Fields)
        }
        ChainResult::Denied(denial) if denial.reason == DenyReason::Policy => ClearedRecord::Denied,
        ChainResult::Denied(_) => ClearedRecord::Failed,
    }
}

/// The fields as a JSON object of strings.
fn body_of<N: AsRef<str>>(fields: &[(N, String)]) -> Vec<u8> {
    let mut body = Vec::with_capacity(fields.iter().map(|(field, text)| field.as_ref().len() + text.len() + 16).sum());
    for (field, text) in fields {
        body.extend_from_slice(if body.is_empty() { b"{\"" } else { b",\"" });
        json::escape_into(&mut body, field.as_ref());
        body.extend_from_slice(b"\":\"");
        json::escape_into(&mut body, text);
        body.push(b'"');
    }
    body.push(b'}');
    body
}
