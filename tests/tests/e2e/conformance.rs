//! The official conformance suite finds the same through the gateway as directly, check by check.

use std::sync::OnceLock;

use watchgate_tests::conformance::{self, Checks, Revision, Route};
use watchgate_tests::gateway::target_dir;
use watchgate_tests::peers::{self, Server, ServerKind};
use watchgate_tests::plugins::stock;
use watchgate_tests::{Gateway, GatewayOptions, PluginFolder};

/// The policy whose presence must change nothing, as long as nothing is secret.
fn policy() -> PluginFolder {
    PluginFolder::with("redact-secrets", &stock("redact-secrets"), "required = true\n")
}

/// The suite sends and checks `Host`, so it must know each server by a name of the same kind.
fn local(address: &str) -> String {
    address.replace("127.0.0.1", "localhost")
}

fn same(direct: &Checks, gateway: &Checks) {
    if let Some(difference) = direct.difference(gateway) {
        panic!("{difference}");
    }
}

/// A direct run in which nothing failed and at least so much succeeded: equal runs that find nothing would prove nothing.
fn sound(direct: Checks, least: usize) -> Checks {
    let failed = direct.only(|check| check.status == "FAILURE");
    assert!(direct.count("SUCCESS") >= least && failed.total() == 0, "{} succeeded, these failed: {failed:?}", direct.count("SUCCESS"));
    direct
}

/// What the suite finds in the everything-server itself, once for each revision.
fn server_itself(revision: Revision) -> &'static Checks {
    static LEGACY: OnceLock<Checks> = OnceLock::new();
    static MODERN: OnceLock<Checks> = OnceLock::new();
    let (found, least) = match revision {
        Revision::Legacy => (&LEGACY, 84),
        Revision::Modern => (&MODERN, 152),
    };
    found.get_or_init(|| {
        let server = everything();
        let checks = conformance::of_server(&peers::install(&target_dir()).unwrap(), revision, &local(&server.url())).unwrap();
        sound(checks, least)
    })
}

fn everything() -> Server {
    peers::install(&target_dir()).unwrap().serve(ServerKind::Python).unwrap()
}

fn check_server(revision: Revision, plugins: Option<&PluginFolder>) {
    let server = everything();
    let mut arguments = vec!["--upstream", server.origin()];
    arguments.extend(plugins.iter().flat_map(|folder| ["--plugins", folder.path()]));
    let gateway = Gateway::start(&arguments, GatewayOptions::default());
    let peers = peers::install(&target_dir()).unwrap();
    let through = conformance::of_server(&peers, revision, &local(&gateway.url("/mcp"))).unwrap();
    same(server_itself(revision), &through);
    let exchanges = gateway.metrics().metric("watchgate_http_requests_total", &[]);
    assert!(exchanges > 50.0, "the suite made only {exchanges} requests of the gateway");
}

/// What the suite finds in the SDK's client when it talks to the suite's own servers.
fn client_itself(revision: Revision) -> &'static Checks {
    static LEGACY: OnceLock<Checks> = OnceLock::new();
    static MODERN: OnceLock<Checks> = OnceLock::new();
    let (found, least) = match revision {
        Revision::Legacy => (&LEGACY, 247),
        Revision::Modern => (&MODERN, 411),
    };
    found.get_or_init(|| sound(client(revision, Route::Direct), least))
}

fn client(revision: Revision, route: Route<'_>) -> Checks {
    let peers = peers::install(&target_dir()).unwrap();
    conformance::of_client(&peers, revision, env!("CARGO_BIN_EXE_conformance-client"), route).unwrap()
}

/// A gateway that has taken over the name of its server: every check is the same, OAuth's included.
fn check_client(revision: Revision, plugins: Option<&PluginFolder>) {
    same(client_itself(revision), &client(revision, Route::Name(plugins)));
}

/// With a name of its own, which it puts in the place of the server's, OAuth finds its way through the gateway too.
fn check_public_client(revision: Revision, plugins: Option<&PluginFolder>) {
    // This check wants from the client the very URL that the mock server published, which is not the one that the client must use here.
    let direct = client_itself(revision).map(|check| {
        if check.id == "resource-parameter-matches-prm" {
            "FAILURE".clone_into(&mut check.status);
        }
    });
    same(&direct, &client(revision, Route::Public(plugins)));
}

macro_rules! finds_the_same {
    ($($test:ident: $check:ident, $revision:ident, $plugins:expr;)*) => {$(
        #[test]
        fn $test() {
            $check(Revision::$revision, $plugins);
        }
    )*};
}

finds_the_same! {
    server_2025_11_25: check_server, Legacy, None;
    server_2026_07_28: check_server, Modern, None;
    server_2025_11_25_guarded: check_server, Legacy, Some(&policy());
    server_2026_07_28_guarded: check_server, Modern, Some(&policy());
    client_2025_11_25: check_client, Legacy, None;
    client_2026_07_28: check_client, Modern, None;
    client_2025_11_25_guarded: check_client, Legacy, Some(&policy());
    client_2026_07_28_guarded: check_client, Modern, Some(&policy());
    client_2025_11_25_public: check_public_client, Legacy, None;
    client_2026_07_28_public: check_public_client, Modern, None;
    client_2025_11_25_public_guarded: check_public_client, Legacy, Some(&policy());
    client_2026_07_28_public_guarded: check_public_client, Modern, Some(&policy());
}
