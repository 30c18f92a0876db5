//! The trial calls of a new generation: what each kind must survive before traffic meets it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use watchgate_hooks::{
    Alert, AlertAction, AlertState, FailureReason, HookFailure, Kind, Message, MetricDerivation, MirroredHeader, Operation, PluginKind,
    RedactionPolicy, Surface, check_edits,
};
use watchgate_mcp::{ContentCounts, Direction, Outcome};

use crate::generation::Generation;
use crate::hooks::{Alerting, Derivation, Redaction};
use crate::refusal::{LoadCode, LoadError};

/// One message of the corpus.
struct Sample {
    what: &'static str,
    kind: Kind,
    direction: Direction,
    surface: Surface,
    method: Option<&'static str>,
    name: Option<&'static str>,
    body: &'static str,
}

/// The corpus: what crosses the wire in both directions, what does not parse, and what leaves as telemetry.
const CORPUS: [Sample; 6] = [
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

/// Makes the trial calls, then throws every instance away that took part in them.
pub(crate) async fn run(generation: &Arc<Generation>) -> Result<(), LoadError> {
    for kind in generation.kinds() {
        match kind {
            PluginKind::Redaction => redact(generation).await?,
            PluginKind::Derivation => derive(generation).await?,
            PluginKind::Alerting => alert(generation).await?,
            PluginKind::Health => {}
        }
    }
    generation.renew().await.map_err(|failure| failed("a second start", &failure))
}

async fn redact(generation: &Arc<Generation>) -> Result<(), LoadError> {
    let policy = Redaction(Arc::clone(generation));
    for sample in &CORPUS {
        let reply = policy.redact(message(sample)).await.map_err(|failure| failed(sample.what, &failure))?;
        check_edits(&message(sample), reply.edits).map_err(|failure| failed(sample.what, &failure))?;
    }
    Ok(())
}

async fn derive(generation: &Arc<Generation>) -> Result<(), LoadError> {
    let derivation = Derivation(Arc::clone(generation));
    derivation.observe(operation()).await.map_err(|failure| failed("an operation", &failure))
}

async fn alert(generation: &Arc<Generation>) -> Result<(), LoadError> {
    match Alerting(Arc::clone(generation)).notify(notification()).await {
        Err(failure) if failure.reason != FailureReason::GuestError => Err(failed("an alert", &failure)),
        _ => Ok(()),
    }
}

fn failed(what: &str, failure: &HookFailure) -> LoadError {
    LoadError::new(LoadCode::TrialFailed, format!("it failed on {what}: {failure}"))
}

fn message(sample: &Sample) -> Message {
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

fn operation() -> Operation {
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

fn notification() -> Alert {
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
