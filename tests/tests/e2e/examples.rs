//! Every configuration in `examples/` starts the gateway, and does what its comments say.

use std::path::Path;

use watchgate_tests::{Gateway, GatewayOptions};

#[test]
fn every_configuration_starts_the_gateway() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut started = 0;
    for folder in std::fs::read_dir(examples).unwrap() {
        let file = folder.unwrap().path().join("watchgate.toml");
        if !file.exists() {
            continue;
        }
        let gateway = Gateway::start(&["--config", file.to_str().unwrap()], GatewayOptions::default());
        assert_eq!(gateway.admin_get("/health/ready").status(), 200, "{}", file.display());
        let plugins = gateway.admin_get("/api/plugins").json().unwrap();
        assert_eq!(plugins["plugins"], serde_json::json!([]), "{}", file.display());
        started += 1;
    }
    assert!(started >= 1, "there is at least one example");
}
