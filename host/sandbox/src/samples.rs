//! The messages, the operation and the alert that the gateway wrote itself: what each kind must answer before traffic meets a plugin, and when in
//! doubt whether it is the plugin that is slow or what it is shown.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use watchgate_hooks::{Alert, AlertState, EditDraft, Kind, KindSet, Message, MirroredHeader, Operation, PluginKind, Surface};
use watchgate_mcp::{ContentCounts, Direction, Outcome};

use crate::exports::Ask;
use crate::host::Loan;

/// One message of the corpus.
pub(crate) struct Sample {
    pub(crate) what: &'static str,
    kind: Kind,
    direction: Direction,
    surface: Surface,
    method: Option<&'static str>,
    name: Option<&'static str>,
    body: &'static str,
}

/// The corpus: what crosses the wire in both directions, what does not parse, and what leaves as telemetry.
pub(crate) const CORPUS: [Sample; 6] = [
    Sample {
        what: "a request",
        kind: Kind::Request,
        direction: Direction::ClientToServer,
        surface: Surface::Wire,
        method: Some("tools/call"),
        name: Some("search"),
        body: r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"query":"weather in Zürich","limit":3}}}"#,
    },
    Sample {
        what: "a result",
        kind: Kind::Response,
        direction: Direction::ServerToClient,
        surface: Surface::Wire,
        method: Some("tools/call"),
        name: Some("search"),
        body: r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"12 \u00b0C, \"cloudy\""}],"isError":false}}"#,
    },
    Sample {
        what: "the message of an event",
        kind: Kind::Notification,
        direction: Direction::ServerToClient,
        surface: Surface::Wire,
        method: Some("notifications/progress"),
        name: None,
        body: "{\"jsonrpc\":\"2.0\",\n\"method\":\"notifications/progress\",\n\"params\":{\"progressToken\":\"t\",\"progress\":1}}",
    },
    Sample {
        what: "an element of a batch",
        kind: Kind::Error,
        direction: Direction::ServerToClient,
        surface: Surface::Wire,
        method: None,
        name: None,
        body: r#"{"jsonrpc":"2.0","id":"b-2","error":{"code":-32602,"message":"no such tool","data":null}}"#,
    },
    Sample {
        what: "an opaque body",
        kind: Kind::Opaque,
        direction: Direction::ServerToClient,
        surface: Surface::Wire,
        method: None,
        name: None,
        body: "<html><body><h1>502 Bad Gateway</h1></body></html>",
    },
    Sample {
        what: "telemetry",
        kind: Kind::Fields,
        direction: Direction::ClientToServer,
        surface: Surface::Telemetry,
        method: Some("tools/call"),
        name: Some("search"),
        body: r#"{"mcp.tool.name":"search","mcp.request.text":"{\"query\":\"weather\"}"}"#,
    },
];

/// A call of each sample of each of these kinds. A health check has none: what it looks at is no message.
pub(crate) fn calls(kinds: &KindSet) -> Vec<(PluginKind, Ask, Loan)> {
    let redact = |sample: &Sample| {
        let message = message(sample);
        let edits = EditDraft::new(message.body.clone(), message.kind);
        (PluginKind::Redaction, Ask::Redact, Loan::Message { message, edits })
    };
    let mut calls = Vec::new();
    for kind in kinds {
        match kind {
            PluginKind::Redaction => calls.extend(CORPUS.iter().map(redact)),
            PluginKind::Derivation => calls.push((*kind, Ask::Observe, Loan::Operation(Box::new(operation())))),
            PluginKind::Alerting => calls.push((*kind, Ask::Notify, Loan::Alert(Box::new(notification())))),
            PluginKind::Health => {}
        }
    }
    calls
}

/// The message of a sample.
pub(crate) fn message(sample: &Sample) -> Message {
    let headers = sample.name.map(|name| MirroredHeader { name: "mcp-name".into(), value: name.into() });
    Message {
        body: Bytes::from_static(sample.body.as_bytes()),
        kind: sample.kind,
        direction: sample.direction,
        surface: sample.surface,
        server: "trial".into(),
        method: sample.method.map(Into::into),
        name: sample.name.map(Into::into),
        headers: headers.into_iter().collect(),
    }
}

/// The operation that every derivation is shown.
pub(crate) fn operation() -> Operation {
    let [request, response, ..] = &CORPUS;
    Operation {
        server: "trial".into(),
        direction: Direction::ClientToServer,
        method: "tools/call".into(),
        name: Some("search".into()),
        outcome: Outcome::Ok,
        error_code: None,
        duration: Duration::from_millis(12),
        upstream: Duration::from_millis(11),
        request_bytes: request.body.len() as u64,
        response_bytes: response.body.len() as u64,
        argument_bytes: 40,
        result_bytes: 78,
        content: ContentCounts { text: 1, ..ContentCounts::default() },
        protocol_version: Some("2025-06-18".into()),
        request_text: Some(Bytes::from_static(request.body.as_bytes())),
        response_text: Some(Bytes::from_static(response.body.as_bytes())),
    }
}

/// The alert that every action is told of; it leads nowhere.
pub(crate) fn notification() -> Alert {
    Alert {
        name: "trial".to_owned(),
        state: AlertState::Firing,
        is_repeat: false,
        severity: "info".to_owned(),
        summary: "a trial notification, which leads nowhere".to_owned(),
        value: 2.0,
        threshold: 1.0,
        labels: vec![("server".to_owned(), "trial".to_owned())],
        started_at: SystemTime::UNIX_EPOCH,
        resolved_at: None,
        fingerprint: "trial".to_owned(),
    }
}
