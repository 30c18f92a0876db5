//! HTTP+SSE of 2024-11-05: clients and servers of the SDKs' version 1 see the same through the gateway as directly.

use watchgate_tests::gateway::target_dir;
use watchgate_tests::peers::{self, ClientKind, Era, ServerKind};
use watchgate_tests::plugins::stock;
use watchgate_tests::{Gateway, GatewayOptions, PluginFolder, wait_until};

/// Where the server is behind the gateway.
#[derive(Clone, Copy)]
enum Place {
    /// Every path is the server's, so the `endpoint` event is right as it stands.
    Root,
    /// As [`Place::Root`], with the stock policy reading every event.
    RootGuarded,
    /// Below `/legacy/`: the `endpoint` event must name that path.
    Prefix,
}

/// A gateway in front of a server, and the path of the server's endpoint on it.
fn gateway(place: Place, origin: &str, path: &str) -> (Gateway, String) {
    match place {
        Place::Root => (Gateway::before(origin), path.to_owned()),
        Place::RootGuarded => {
            let folder = PluginFolder::with("redact-secrets", &stock("redact-secrets"), "required = true\n");
            (Gateway::start(&["--upstream", origin, "--plugins", folder.path()], GatewayOptions::default()), path.to_owned())
        }
        Place::Prefix => {
            let named = format!("legacy={origin}");
            (Gateway::start(&["--upstream", &named], GatewayOptions::default()), format!("/legacy{path}"))
        }
    }
}

fn check(client: ClientKind, server: ServerKind, place: Place) {
    let peers = peers::install(&target_dir()).unwrap();
    let upstream = peers.serve(server).unwrap();
    let direct = peers.observe(client, Era::Legacy, server, &upstream.url()).unwrap();
    let (gateway, path) = gateway(place, upstream.origin(), upstream.path());
    let through = peers.observe(client, Era::Legacy, server, &gateway.url(&path)).unwrap();
    if let Some(difference) = direct.difference(&through) {
        panic!("first directly, then through the gateway:\n{difference}");
    }
    let exchanges = through.exchanges().unwrap().len();
    assert!(exchanges > 20, "only {exchanges} exchanges");
    wait_until("an access line for each exchange", || (gateway.access_log().len() >= exchanges).then_some(()));
    check_told(&gateway, server);
}

/// What the gateway says of a run: how each call ended and how long it took, although no POST was answered by itself.
fn check_told(gateway: &Gateway, server: ServerKind) {
    let metrics = gateway.metrics();
    let calls = |outcome: &str| metrics.metric("watchgate_mcp_tool_calls_total", &[("outcome", outcome)]);
    assert_eq!((calls("aborted"), calls("tool_error")), (0.0, 2.0), "{}", metrics.text());
    assert!(calls("ok") >= 6.0, "{}", metrics.text());
    let asked = [("initiator", "server"), ("mcp_method_name", "sampling/createMessage"), ("outcome", "ok")];
    assert!(metrics.metric("mcp_server_operation_duration_seconds_count", &asked) >= 1.0, "the server asked");
    if matches!(server, ServerKind::TypeScriptSse) {
        let long = [("tool", "trigger-long-running-operation")];
        assert!(metrics.metric("watchgate_mcp_tool_call_duration_seconds_sum", &long) >= 0.2, "a call lasts until its answer");
    }
    for line in gateway.access_log() {
        assert!(line["outcome"] == "ok" || line["status"] != 202, "{line}");
        assert_ne!(line["outcome"], "aborted", "{line}");
    }
    wait_until("a trace of each tool that failed", || {
        let failed = gateway.admin_get("/api/traces?outcome=tool_error").json().unwrap();
        (failed["traces"].as_array().map(Vec::len) == Some(2)).then_some(())
    });
}

macro_rules! sees_the_same {
    ($($test:ident: $client:ident, $server:ident, $place:ident;)*) => {$(
        #[test]
        fn $test() {
            check(ClientKind::$client, ServerKind::$server, Place::$place);
        }
    )*};
}

sees_the_same! {
    typescript_client_typescript_server: TypeScriptV1Sse, TypeScriptSse, Root;
    typescript_client_python_server: TypeScriptV1Sse, PythonV1Sse, Root;
    python_client_typescript_server: PythonV1Sse, TypeScriptSse, Root;
    python_client_python_server: PythonV1Sse, PythonV1Sse, Root;
    typescript_client_typescript_server_guarded: TypeScriptV1Sse, TypeScriptSse, RootGuarded;
    python_client_python_server_guarded: PythonV1Sse, PythonV1Sse, RootGuarded;
    typescript_client_typescript_server_mounted: TypeScriptV1Sse, TypeScriptSse, Prefix;
    python_client_python_server_mounted: PythonV1Sse, PythonV1Sse, Prefix;
}
