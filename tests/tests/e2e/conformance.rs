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
        // Equal runs that find nothing would prove nothing.
        assert!(checks.count("SUCCESS") >= least && checks.count("FAILURE") == 0, "{checks:?}");
        checks
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

#[test]
fn server_2025_11_25() {
    check_server(Revision::Legacy, None);
}

#[test]
fn server_2026_07_28() {
    check_server(Revision::Modern, None);
}

#[test]
fn server_2025_11_25_guarded() {
    check_server(Revision::Legacy, Some(&policy()));
}

#[test]
fn server_2026_07_28_guarded() {
    check_server(Revision::Modern, Some(&policy()));
}

/// What the suite finds in the SDK's client when it talks to the suite's own servers.
fn client_itself(revision: Revision) -> &'static Checks {
    static LEGACY: OnceLock<Checks> = OnceLock::new();
    static MODERN: OnceLock<Checks> = OnceLock::new();
    let (found, least) = match revision {
        Revision::Legacy => (&LEGACY, 247),
        Revision::Modern => (&MODERN, 411),
    };
    found.get_or_init(|| {
        let checks = client(revision, Route::Direct);
        assert!(checks.count("SUCCESS") >= least && checks.count("FAILURE") == 0, "{checks:?}");
        checks
    })
}

fn client(revision: Revision, route: Route<'_>) -> Checks {
    let peers = peers::install(&target_dir()).unwrap();
    conformance::of_client(&peers, revision, env!("CARGO_BIN_EXE_conformance-client"), route).unwrap()
}

fn check_client(revision: Revision, plugins: Option<&PluginFolder>) {
    let authorizes = |scenario: &str| scenario.starts_with("auth/");
    let direct = client_itself(revision);
    let through = client(revision, Route::Gateway(plugins));
    same(&direct.only(|check| !authorizes(&check.scenario)), &through.only(|check| !authorizes(&check.scenario)));
}

#[test]
fn client_2025_11_25() {
    check_client(Revision::Legacy, None);
}

#[test]
fn client_2026_07_28() {
    check_client(Revision::Modern, None);
}

#[test]
fn client_2025_11_25_guarded() {
    check_client(Revision::Legacy, Some(&policy()));
}

#[test]
fn client_2026_07_28_guarded() {
    check_client(Revision::Modern, Some(&policy()));
}
