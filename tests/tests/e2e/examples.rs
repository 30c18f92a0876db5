//! Every configuration in `examples/` starts the gateway: with the files that its README says to bring, on ports of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use watchgate_tests::{Gateway, GatewayOptions};

/// The public key of RFC 7515, A.3.
pub const JWKS: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "1",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

/// Copies an example into a folder of its own, with every listener on a free port.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let (source, target) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).unwrap();
        if source.is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&source, &target);
        } else {
            fs::copy(&source, &target).unwrap();
        }
    }
}

/// Brings what the README of an example tells its reader to bring.
fn bring(example: &str, folder: &Path) -> Vec<(String, String)> {
    match example {
        "tls" => {
            let readme = fs::read_to_string(folder.join("README.md")).unwrap();
            let commands =
                readme.split("```").find(|block| block.contains("openssl")).expect("a block of the README makes the certificates");
            // It is typed where the repository is.
            let repository = folder.ancestors().nth(2).unwrap();
            let made = Command::new("sh").args(["-e", "-c", commands]).current_dir(repository).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            Vec::new()
        }
        "keys" => {
            fs::write(folder.join("keys"), "alice:0123456789abcdef\nbob:fedcba9876543210\n").unwrap();
            fs::write(folder.join("jwks.json"), JWKS).unwrap();
            vec![("CI_MCP_KEY".to_owned(), "00112233445566778899".to_owned())]
        }
        "otlp" => vec![("COLLECTOR_KEY".to_owned(), "00112233445566778899".to_owned())],
        _ => Vec::new(),
    }
}

#[test]
fn every_configuration_starts_the_gateway() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut started = 0;
    for example in fs::read_dir(examples).unwrap() {
        let example = example.unwrap();
        if !example.path().join("watchgate.toml").exists() {
            continue;
        }
        let name = example.file_name().into_string().unwrap();
        let repository = tempfile::tempdir().unwrap();
        let folder = repository.path().join("examples").join(&name);
        fs::create_dir_all(&folder).unwrap();
        copy(&example.path(), &folder);
        let environment = bring(&name, &folder);
        let file = folder.join("watchgate.toml");
        let text = fs::read_to_string(&file).unwrap();
        let on_free_ports =
            ["127.0.0.1:8080", "0.0.0.0:8080", "0.0.0.0:8443"].iter().fold(text, |text, listed| text.replace(listed, "127.0.0.1:0"));
        fs::write(&file, on_free_ports).unwrap();
        let options = GatewayOptions { environment, listeners_of_file: true, ..GatewayOptions::default() };
        let gateway = Gateway::start(&["--config", file.to_str().unwrap()], options);
        assert_eq!(gateway.admin_get("/health/startup").status(), 200, "{name}");
        // Only one example waits for its servers, and nothing listens where they would be.
        let ready = if name == "replicas" { 503 } else { 200 };
        assert_eq!(gateway.admin_get("/health/ready").status(), ready, "{name}");
        let plugins = gateway.admin_get("/api/plugins").json().unwrap();
        assert_eq!(plugins["plugins"], serde_json::json!([]), "{name}");
        started += 1;
    }
    assert!(started >= 5, "{started}");
}
