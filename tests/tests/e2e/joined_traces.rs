//! One trace through client, gateway and server: the spans that the Python SDK makes on both sides, and the gateway's between them.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use serde_json::Value;
use watchgate_tests::gateway::target_dir;
use watchgate_tests::peers::{self, Era};
use watchgate_tests::{Gateway, GatewayOptions, wait_until};

/// A span, whoever made it.
#[derive(Clone, Debug)]
struct Span {
    by: &'static str,
    name: String,
    kind: String,
    trace: String,
    id: String,
    parent: Option<String>,
}

/// The spans that an SDK wrote, whose ids are written as `0x...` there.
fn recorded(file: &Path, by: &'static str) -> Vec<Span> {
    let id = |value: &Value| value.as_str().map(|id| id.trim_start_matches("0x").to_owned());
    let text = fs::read_to_string(file).unwrap();
    let spans = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    spans
        .map(|span| Span {
            by,
            name: span["name"].as_str().unwrap().to_owned(),
            kind: span["kind"].as_str().unwrap().trim_start_matches("SpanKind.").to_owned(),
            trace: id(&span["context"]["trace_id"]).unwrap(),
            id: id(&span["context"]["span_id"]).unwrap(),
            parent: id(&span["parent_id"]),
        })
        .collect()
}

/// The gateway's spans of one trace.
fn of_gateway(gateway: &Gateway, trace: &str) -> Vec<Span> {
    let told = gateway.admin_get(&format!("/api/traces/{trace}")).json().unwrap();
    let exchanges = told["exchanges"].as_array().cloned().unwrap_or_default();
    let spans = exchanges.iter().flat_map(|exchange| exchange["spans"].as_array().cloned().unwrap());
    let text = |value: &Value| value.as_str().map(str::to_owned);
    spans
        .map(|span| Span {
            by: "gateway",
            name: text(&span["name"]).unwrap(),
            kind: text(&span["kind"]).unwrap(),
            trace: trace.to_owned(),
            id: text(&span["span_id"]).unwrap(),
            parent: text(&span["parent_span_id"]),
        })
        .collect()
}

/// From a span to the root: who made each, what it is called and of which kind it is.
fn way_up(spans: &HashMap<String, Span>, from: &Span) -> Vec<(&'static str, String, String)> {
    let mut way = Vec::new();
    let mut here = Some(from);
    while let Some(span) = here {
        way.push((span.by, span.kind.clone(), span.name.clone()));
        assert!(way.len() < 20, "a circle: {way:?}");
        here = span.parent.as_ref().and_then(|parent| spans.get(parent));
    }
    way
}

/// Every span of the traces that the client began.
fn all_spans(gateway: &Gateway, of_client: &Path, of_server: &Path) -> HashMap<String, Span> {
    let client = recorded(of_client, "client");
    let traces: HashSet<String> = client.iter().map(|span| span.trace.clone()).collect();
    let own = traces.iter().flat_map(|trace| of_gateway(gateway, trace));
    own.chain(client.clone()).chain(recorded(of_server, "server")).map(|span| (span.id.clone(), span)).collect()
}

/// Checks that each way, from a span to the root of its trace, is there once a client has gone through its plan.
fn check(era: Era, ways: &[&[Step]]) {
    let peers = peers::install(&target_dir()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (of_client, of_server) = (folder.path().join("client"), folder.path().join("server"));
    let server = peers.serve_traced(&of_server).unwrap();
    let config =
        format!("[traces]\nmeta = \"rewrite\"\nrecent_count = 10000\n[servers.a]\nurl = \"{}\"\nmount = \"root\"\n", server.origin());
    let environment = vec![("OTEL_TRACES_SAMPLER".to_owned(), "always_on".to_owned())];
    let gateway = Gateway::start(&[], GatewayOptions { environment, ..GatewayOptions::config(&config) });
    peers.observe_traced(era, &gateway.url("/mcp"), &of_client).unwrap();
    for way in ways {
        let expected: Vec<_> = way.iter().map(|(by, kind, name)| (*by, (*kind).to_owned(), (*name).to_owned())).collect();
        wait_until(&format!("{expected:?} is one branch"), || {
            let spans = all_spans(&gateway, &of_client, &of_server);
            spans.values().any(|from| way_up(&spans, from) == expected).then_some(())
        });
    }
}

/// Who made a span, its kind and its name.
type Step = (&'static str, &'static str, &'static str);

const CALL: &[Step] = &[
    ("server", "SERVER", "tools/call test_simple_text"),
    ("gateway", "CLIENT", "tools/call test_simple_text"),
    ("gateway", "SERVER", "tools/call test_simple_text"),
    ("client", "CLIENT", "MCP send tools/call test_simple_text"),
];

#[test]
fn a_call_of_the_modern_era() {
    check(Era::Modern, &[CALL]);
}

#[test]
fn a_call_of_the_legacy_era_and_what_the_server_asks_meanwhile() {
    let asked: &[Step] = &[
        ("gateway", "CLIENT", "sampling/createMessage"),
        ("gateway", "SERVER", "sampling/createMessage"),
        ("server", "CLIENT", "MCP send sampling/createMessage"),
        ("server", "SERVER", "tools/call test_sampling"),
        ("gateway", "CLIENT", "tools/call test_sampling"),
        ("gateway", "SERVER", "tools/call test_sampling"),
        ("client", "CLIENT", "MCP send tools/call test_sampling"),
    ];
    check(Era::Legacy, &[CALL, asked]);
}
