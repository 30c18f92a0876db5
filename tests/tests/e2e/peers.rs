//! Real clients see the same through the gateway as directly.

use watchgate_tests::gateway::target_dir;
use watchgate_tests::peers::{self, ClientKind, Era, ServerKind};
use watchgate_tests::{Gateway, wait_until};

fn check(client: ClientKind, era: Era, server: ServerKind) {
    let peers = peers::install(&target_dir()).unwrap();
    let upstream = peers.serve(server).unwrap();
    let direct = peers.observe(client, era, server, &upstream.url()).unwrap();
    let gateway = Gateway::before(upstream.origin());
    let through = peers.observe(client, era, server, &gateway.url("/mcp")).unwrap();
    if let Some(difference) = direct.difference(&through) {
        panic!("first directly, then through the gateway:\n{difference}");
    }
    let exchanges = through.exchanges().unwrap().len();
    assert!(exchanges > 20, "only {exchanges} exchanges");
    wait_until("an access line for each exchange", || (gateway.access_log().len() >= exchanges).then_some(()));
    // A request that the client gave up before its head came is an exchange that only the gateway saw.
    let finished = gateway.access_log().iter().filter(|line| line["outcome"] != "cancelled").count();
    assert!(finished <= exchanges, "{finished} access lines for {exchanges} exchanges");
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
    typescript_v1_client_typescript_server_legacy: TypeScriptV1, Legacy, TypeScript;
    typescript_v2_client_typescript_server_legacy: TypeScriptV2, Legacy, TypeScript;
    typescript_v2_client_typescript_server_probing: TypeScriptV2, Auto, TypeScript;
    python_client_typescript_server_legacy: Python, Legacy, TypeScript;
    python_client_typescript_server_probing: Python, Auto, TypeScript;
    typescript_v1_client_python_server_legacy: TypeScriptV1, Legacy, Python;
    typescript_v2_client_python_server_legacy: TypeScriptV2, Legacy, Python;
    typescript_v2_client_python_server_modern: TypeScriptV2, Modern, Python;
    typescript_v2_client_python_server_probing: TypeScriptV2, Auto, Python;
    python_client_python_server_legacy: Python, Legacy, Python;
    python_client_python_server_modern: Python, Modern, Python;
    python_client_python_server_probing: Python, Auto, Python;
}
