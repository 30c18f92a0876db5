//! Settings that cannot work are refused with a sentence that helps.

use super::*;

fn check_server(settings: &ServerTls, expected: &[&str]) {
    let said = match ServerTlsState::load(settings, true) {
        Ok(_) => panic!("accepted, where {expected:?} was expected"),
        Err(error) => error.to_string(),
    };
    for part in expected {
        assert!(said.contains(part), "{said} lacks {part}");
    }
}

#[test]
fn a_key_of_another_certificate_names_both_files() {
    let (files, authority) = (Files::new(), Authority::new("one"));
    let mut settings = files.server(&authority.issue(&["localhost"]));
    settings.key = files.write("other.key", authority.issue(&["localhost"]).key);
    let (certificate, key) = (settings.certificate.display().to_string(), settings.key.display().to_string());
    check_server(&settings, &[&certificate, &key, "does not belong to", "replace both"]);

    let client = ClientIdentity { certificate: settings.certificate, key: settings.key };
    let Err(error) = UpstreamTlsState::load(&UpstreamTls { client: Some(client), ..files.trusting(&authority) }, false) else {
        panic!("accepted")
    };
    let said = error.to_string();
    assert!(said.contains(&certificate) && said.contains(&key), "{said}");
}

#[test]
fn every_bad_file_is_named_with_a_remedy() {
    let (files, authority) = (Files::new(), Authority::new("one"));
    let pair = authority.issue(&["localhost"]);
    let good = files.server(&pair);
    let certificate = |name: &str, content: &[u8]| ServerTls { certificate: files.write(name, content), ..good.clone() };
    let key = |name: &str, content: &[u8]| ServerTls { key: files.write(name, content), ..good.clone() };
    let broken = pair.certificate.replace('M', "!");
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let weak = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let locked_as_of_old =
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";

    check_server(&ServerTls { certificate: files.path("none"), ..good.clone() }, &["none: no such file", "check the path"]);
    check_server(&ServerTls { key: files.path("none"), ..good.clone() }, &["none: no such file"]);
    check_server(&ServerTls { certificate: files.path("."), ..good.clone() }, &["not a regular file"]);
    check_server(&certificate("empty.pem", b""), &["empty.pem: no certificate in PEM", "BEGIN CERTIFICATE"]);
    check_server(&certificate("broken.pem", broken.as_bytes()), &["broken.pem: broken PEM"]);
    check_server(&certificate("der.pem", &der(&pair.certificate)), &["der.pem: not PEM", "openssl x509 -inform der"]);
    check_server(&certificate("nonsense.pem", nonsense.as_bytes()), &["nonsense.pem: unusable certificate"]);
    check_server(&certificate("swapped.pem", pair.key.as_bytes()), &["swapped.pem: no certificate"]);
    check_server(&key("swapped.key", pair.certificate.as_bytes()), &["swapped.key: no private key"]);
    check_server(&key("weak.key", weak.as_bytes()), &["weak.key: unusable private key", "ECDSA P-256"]);
    check_server(&key("locked.key", locked.as_bytes()), &["locked.key: the private key is encrypted", "openssl pkey"]);
    check_server(&key("old.key", locked_as_of_old.as_bytes()), &["old.key: the private key is encrypted"]);
    // The chain in the wrong order is the most common of them.
    check_server(&certificate("order.pem", (authority.pem() + &pair.certificate).as_bytes()), &["order.pem", "own certificate first"]);
    let clients = |content: &str| ServerTls { client_ca: Some(files.write("clients.pem", content)), ..good.clone() };
    check_server(&clients(""), &["clients.pem: no certificate"]);
    check_server(&clients(nonsense), &["clients.pem: no certificate in it can serve as an authority"]);
}

/// The secret part of a key is in no sentence, whatever is wrong with it.
#[test]
fn no_sentence_holds_the_key() {
    let (files, authority) = (Files::new(), Authority::new("one"));
    let pair = authority.issue(&["localhost"]);
    let good = files.server(&pair);
    let secret = pair.key.lines().nth(1).unwrap();
    for spoilt in [
        pair.key.replace("-----END", "----END"),
        pair.key.replacen('\n', "\n!", 1),
        pair.key.replacen("-----BEGIN PRIVATE KEY-----\n", "-----BEGIN PRIVATE KEY-----", 1),
        pair.key.replacen(secret, &secret[4..], 1),
    ] {
        let Err(error) = ServerTlsState::load(&ServerTls { key: files.write("spoilt.key", &spoilt), ..good.clone() }, false) else {
            panic!("accepted: {spoilt}")
        };
        let (said, debug) = (error.to_string(), format!("{error:?}"));
        assert!(!said.contains(&secret[8..24]) && !debug.contains(&secret[8..24]), "{said}");
    }
}

/// One file may hold both, and a chain may follow; text around the sections is no harm.
#[tokio::test]
async fn one_file_may_hold_certificate_key_and_chain() {
    let (files, authority) = (Files::new(), Authority::new("one"));
    let pair = authority.issue(&["localhost"]);
    let text = format!("Bag Attributes\r\n{}\n{}# issuer\n{}", pair.key, pair.certificate.replace('\n', "\r\n"), authority.pem());
    let both = files.write("both.pem", text);
    let server = load(&ServerTls { certificate: both.clone(), key: both, client_ca: None });
    let open = open(&server, &load_client(&files.trusting(&authority)), "localhost").await.unwrap();
    assert_eq!(open.shown(), der(&pair.certificate));
}

/// A gateway whose certificate has expired overnight starts, and serves clients that do not mind.
#[tokio::test]
async fn an_expired_certificate_is_served() {
    let (files, authority) = (Files::new(), Authority::new("one"));
    let server = load(&files.server(&authority.issue_until(&["localhost"], 2020)));
    assert_eq!(server.not_after(), year(2020));
    let refused = open(&server, &load_client(&files.trusting(&authority)), "localhost").await.unwrap_err();
    assert!(refused.contains("expired"), "{refused}");
}

/// Old bundles hold certificates that cannot be used; the others in them can.
#[tokio::test]
async fn one_bad_authority_does_not_spoil_the_others() {
    let (files, authority) = (Files::new(), Authority::new("one"));
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let bundle = UpstreamTls { ca: Some(files.write("bundle.pem", nonsense.to_owned() + &authority.pem())), ..UpstreamTls::default() };
    let server = load(&files.server(&authority.issue(&["localhost"])));
    open(&server, &load_client(&bundle), "localhost").await.unwrap();
}

#[test]
fn a_server_name_that_cannot_be_is_refused_at_once() {
    for name in ["", "a b", "https://a", "a:443", "[::1]", ".a", "a..b"] {
        let Err(error) = UpstreamTlsState::load(&UpstreamTls { server_name: Some(name.to_owned()), ..UpstreamTls::default() }, false)
        else {
            panic!("accepted: {name}")
        };
        assert!(error.to_string().contains("neither a host name nor an address"), "{error}");
    }
}
