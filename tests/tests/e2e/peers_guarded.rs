//! Real clients see the same through a gateway that redacts, as long as there is nothing to redact.

use watchgate_tests::gateway::target_dir;
use watchgate_tests::peers::{self, ClientKind, Era, ServerKind};
use watchgate_tests::plugins::stock;
use watchgate_tests::{Gateway, GatewayOptions, PluginFolder};

fn check(client: ClientKind, era: Era, server: ServerKind) {
    let peers = peers::install(&target_dir()).unwrap();
    let upstream = peers.serve(server).unwrap();
    let direct = peers.observe(client, era, server, &upstream.url()).unwrap();
    let folder = PluginFolder::with("redact-secrets", &stock("redact-secrets"), "required = true\n");
    folder.add("tool-sizes", &stock("tool-sizes"), "");
    let args = ["--upstream", upstream.origin(), "--plugins", folder.path()];
    let gateway = Gateway::start(&args, GatewayOptions::default());
    let through = peers.observe(client, era, server, &gateway.url("/mcp")).unwrap();
    if let Some(difference) = direct.difference(&through) {
        panic!("first directly, then through the gateway:\n{difference}");
    }
    let metrics = gateway.metrics();
    let calls = metrics.metric("watchgate_plugin_calls_total", &[("plugin", "redact-secrets")]);
    assert!(calls > 40.0, "the policy saw only {calls} messages");
    for name in ["watchgate_plugin_failures_total", "watchgate_plugin_denials_total", "redact_secrets_found_total"] {
        assert_eq!(metrics.metric(name, &[]), 0.0, "{name}");
    }
    let sizes = metrics.metric("tool_sizes_result_bytes_count", &[("plugin", "tool-sizes")]);
    assert!(sizes > 3.0, "only {sizes} tool calls were measured");
}

macro_rules! sees_the_same {
    ($($test:ident: $client:ident, $era:ident, $server:ident;)*) => {$(
        #[test]
        fn $test() {
            check(ClientKind::$client, Era::$era, ServerKind::$server);
        }
    )*};
}

sees_the_same! {
    typescript_client_typescript_server_legacy: TypeScriptV2, Legacy, TypeScript;
    typescript_client_python_server_modern: TypeScriptV2, Modern, Python;
    python_client_typescript_server_legacy: Python, Legacy, TypeScript;
    python_client_python_server_modern: Python, Modern, Python;
}
