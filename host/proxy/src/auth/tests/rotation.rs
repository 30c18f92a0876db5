//! Keys come, change and fail to come, from files and from an issuer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::issuer::{Answer, Issuer};
use super::token::Key;
use super::{bearer, good, jwt, known};
use crate::auth::jwks::Pace;
use crate::auth::{Authenticator, Verdict};
use crate::config::JwksSource;

/// No gap between loads, and no waiting for what will not come.
const QUICK: Pace = Pace {
    gap: Duration::ZERO,
    wait: Duration::from_secs(30),
    deadline: Duration::from_secs(30),
    file: Duration::from_secs(3600),
    retry: Duration::from_secs(3600),
};
const NEVER: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(20);

fn start(source: JwksSource, refresh: Duration, pace: Pace) -> Arc<Authenticator> {
    let mut config = jwt(source);
    config.jwt.as_mut().unwrap().refresh = refresh;
    Authenticator::start_at(&config, pace).unwrap()
}

async fn check(authenticator: &Authenticator, token: &str, expected: Verdict) {
    assert_eq!(authenticator.check(&bearer(token)).await, expected);
}

/// Asks until the answer is this one, for at most half a minute.
async fn becomes(authenticator: &Authenticator, token: &str, expected: Verdict) {
    let asking = async {
        while authenticator.check(&bearer(token)).await != expected {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking).await.unwrap();
}

/// Waits for two loads to end: the second of them began after this call.
async fn loaded(authenticator: &Authenticator) {
    let mut loads = authenticator.jwt.as_ref().unwrap().jwks.loads();
    for _ in 0..2 {
        tokio::time::timeout(Duration::from_secs(30), loads.changed()).await.unwrap().unwrap();
    }
}

fn pair(kid: &str) -> (Key, Value) {
    let key = Key::new("ES256");
    let jwk = key.jwk(json!({ "kid": kid }));
    (key, jwk)
}

#[tokio::test]
async fn an_unknown_key_is_fetched_and_a_withdrawn_one_forgotten() {
    let ((old, old_jwk), (new, new_jwk)) = (pair("old"), pair("new"));
    let issuer = Issuer::start(Answer::Keys(vec![old_jwk])).await;
    let authenticator = start(JwksSource::Url(issuer.url.clone()), NEVER, QUICK);
    // The first request waits for the first fetch.
    check(&authenticator, &good(&old, "old"), known("alice")).await;
    check(&authenticator, &good(&old, "old"), known("alice")).await;
    assert_eq!(issuer.asked(), 1);
    issuer.answer(Answer::Keys(vec![new_jwk]));
    check(&authenticator, &good(&new, "new"), known("alice")).await;
    assert_eq!(issuer.asked(), 2);
    // A token that was remembered goes with the key that had verified it.
    check(&authenticator, &good(&old, "old"), Verdict::Invalid).await;
}

/// Key ids are the client's to invent.
#[tokio::test]
async fn an_issuer_is_not_asked_at_will() {
    let (key, jwk) = pair("k");
    let issuer = Issuer::start(Answer::Keys(vec![jwk])).await;
    let authenticator = start(JwksSource::Url(issuer.url.clone()), NEVER, Pace { gap: NEVER, ..QUICK });
    check(&authenticator, &good(&key, "k"), known("alice")).await;
    for number in 0..100 {
        check(&authenticator, &good(&key, &format!("made-up-{number}")), Verdict::Invalid).await;
    }
    check(&authenticator, "not.a.token", Verdict::Invalid).await;
    check(&authenticator, &good(&key, "k"), known("alice")).await;
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn many_that_wait_share_one_fetch() {
    let (key, jwk) = pair("k");
    let issuer = Issuer::start(Answer::Keys(vec![jwk])).await;
    let authenticator = start(JwksSource::Url(issuer.url.clone()), NEVER, Pace { gap: NEVER, ..QUICK });
    let token = good(&key, "k");
    let headers = bearer(&token);
    let verdicts = futures_util::future::join_all((0..500).map(|_| authenticator.check(&headers))).await;
    assert!(verdicts.iter().all(|verdict| *verdict == known("alice")));
    assert_eq!(issuer.asked(), 1);
}

fn failures() -> Vec<Answer> {
    let raw = |text: &str| Answer::Raw(text.as_bytes().to_vec());
    let huge = format!("HTTP/1.1 200 OK\r\n\r\n{{\"keys\":[{}]}}", " ".repeat(2 << 20));
    vec![
        raw("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 11\r\n\r\n{\"keys\":[]}"),
        raw("HTTP/1.1 404 Not Found\r\n\r\n"),
        raw("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\n\r\n"),
        raw("HTTP/1.1 204 No Content\r\n\r\n"),
        raw("HTTP/1.1 200 OK\r\n\r\n"),
        raw("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"keys\":[]}"),
        raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
        raw("HTTP/1.1 200 OK\r\n\r\n<html>sign in</html>"),
        raw("HTTP/1.1 200 OK\r\n\r\n[]"),
        raw("HTTP/1.1 200 OK\r\n\r\n{\"keys\":{}}"),
        raw("HTTP/1.1 200 OK\r\n\r\n{\"keys\":[{]}"),
        raw("SSH-2.0-OpenSSH_9.6\r\n"),
        raw(""),
        raw(&huge),
    ]
}

#[tokio::test]
async fn keys_are_kept_when_a_fetch_fails() {
    let (key, jwk) = pair("k");
    let issuer = Issuer::start(Answer::Keys(vec![jwk.clone()])).await;
    let pace = Pace { gap: NEVER, ..QUICK };
    let authenticator = start(JwksSource::Url(issuer.url.clone()), SOON, pace);
    let token = good(&key, "k");
    check(&authenticator, &token, known("alice")).await;
    for answer in failures() {
        issuer.answer(answer);
        loaded(&authenticator).await;
        check(&authenticator, &token, known("alice")).await;
    }
    // It comes back with others.
    let (next, next_jwk) = pair("next");
    issuer.answer(Answer::Keys(vec![next_jwk]));
    becomes(&authenticator, &good(&next, "next"), known("alice")).await;
    check(&authenticator, &token, Verdict::Invalid).await;
    // Keys that are withdrawn are not a failure.
    issuer.answer(Answer::Keys(Vec::new()));
    becomes(&authenticator, &good(&next, "next"), Verdict::Invalid).await;
}

#[tokio::test]
async fn an_issuer_that_hangs_delays_a_request_and_no_more() {
    let (key, jwk) = pair("k");
    let issuer = Issuer::start(Answer::Hang).await;
    let pace = Pace { wait: SOON, deadline: Duration::from_millis(100), retry: SOON, ..QUICK };
    let authenticator = start(JwksSource::Url(issuer.url.clone()), NEVER, pace);
    check(&authenticator, &good(&key, "k"), Verdict::Invalid).await;
    issuer.answer(Answer::Keys(vec![jwk]));
    becomes(&authenticator, &good(&key, "k"), known("alice")).await;
}

#[tokio::test]
async fn it_starts_while_the_issuer_is_down() {
    let (key, jwk) = pair("k");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/keys", port.local_addr().unwrap());
    drop(port);
    let authenticator = start(JwksSource::Url(url), NEVER, QUICK);
    check(&authenticator, &good(&key, "k"), Verdict::Invalid).await;

    let issuer = Issuer::start(Answer::Raw(Vec::new())).await;
    let authenticator = start(JwksSource::Url(issuer.url.clone()), NEVER, Pace { retry: SOON, gap: NEVER, ..QUICK });
    check(&authenticator, &good(&key, "k"), Verdict::Invalid).await;
    issuer.answer(Answer::Keys(vec![jwk]));
    becomes(&authenticator, &good(&key, "k"), known("alice")).await;
}

#[tokio::test]
async fn the_background_ends_with_its_owner() {
    let issuer = Issuer::start(Answer::Keys(vec![pair("k").1])).await;
    let authenticator = start(JwksSource::Url(issuer.url.clone()), SOON, QUICK);
    loaded(&authenticator).await;
    let mut loads = authenticator.jwt.as_ref().unwrap().jwks.loads();
    drop(authenticator);
    // The task holds the other end; it is gone when the channel is closed.
    let closed = async { while loads.changed().await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(30), closed).await.unwrap();
}

fn write(path: &Path, content: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, content).unwrap();
    std::fs::rename(&beside, path).unwrap();
}

#[tokio::test]
async fn a_file_is_read_again() {
    let ((old, old_jwk), (new, new_jwk), (third, third_jwk)) = (pair("old"), pair("new"), pair("third"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    write(&path, &json!({ "keys": [old_jwk] }).to_string());
    let authenticator = start(JwksSource::File(path.clone()), NEVER, Pace { file: SOON, gap: NEVER, ..QUICK });
    let token = good(&old, "old");
    check(&authenticator, &token, known("alice")).await;
    for broken in ["", "{", "{\"keys\":[", "null", "{\"keys\":7}"] {
        write(&path, broken);
        loaded(&authenticator).await;
        check(&authenticator, &token, known("alice")).await;
    }
    std::fs::remove_file(&path).unwrap();
    loaded(&authenticator).await;
    check(&authenticator, &token, known("alice")).await;
    write(&path, &json!({ "keys": [new_jwk] }).to_string());
    becomes(&authenticator, &good(&new, "new"), known("alice")).await;
    check(&authenticator, &token, Verdict::Invalid).await;

    // An unknown key has the file read at once.
    let authenticator = start(JwksSource::File(path.clone()), NEVER, QUICK);
    write(&path, &json!({ "keys": [third_jwk] }).to_string());
    check(&authenticator, &good(&third, "third"), known("alice")).await;
}

#[tokio::test]
async fn a_file_that_cannot_serve_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let check = |content: Option<&[u8]>, expected: &str| {
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let error = Authenticator::start(&jwt(JwksSource::File(path.clone()))).err().unwrap().to_string();
        assert!(error.contains(&path.display().to_string()) && error.contains(expected), "{error}");
    };
    check(None, "check that it exists");
    check(Some(b""), "it must look like {\"keys\": [...]}");
    check(Some(b"\xff\xfe"), "it must look like");
    check(Some(b"[1]"), "it has no array \"keys\"");
    check(Some(&[b' '; (1 << 20) + 1]), "larger than 1048576 bytes");
    let short = json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" });
    let secret = json!({ "kty": "oct", "k": "AQAB" });
    let curve = json!({ "kty": "EC", "crv": "secp256k1", "x": "AQAB", "y": "AQAB" });
    let point = json!({ "kty": "EC", "crv": "P-256", "x": "AQAB", "y": "AQAB" });
    for keys in [json!([]), json!([short, secret, curve, point, 7, null, {}, { "kty": 7 }])] {
        check(Some(json!({ "keys": keys }).to_string().as_bytes()), "no key to verify tokens with");
    }
    let error = Authenticator::start(&jwt(JwksSource::File(folder.path().to_owned()))).err().unwrap().to_string();
    assert!(error.contains("it is not a file"), "{error}");
    let error = Authenticator::start(&jwt(JwksSource::Url("issuer.test/keys".to_owned()))).err().unwrap().to_string();
    assert!(error.contains("\"issuer.test/keys\" is not the address of a JWKS"), "{error}");
}
