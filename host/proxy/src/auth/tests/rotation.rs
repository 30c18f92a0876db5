//! Keys come, change and fail to come, from files and from an issuer.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use watchgate_telemetry::AuthResult;

use super::issuer::{Answer, Issuer};
use super::token::Key;
use super::{bearer, claims, file, good, jwt, known, refused, with_keys};
use crate::auth::fetched::{Fetched, Pace};
use crate::auth::jwks::Jwks;
use crate::auth::{Authenticator, Verdict};
use crate::config::{JwksSource, JwtConfig};

/// No gap between loads, and no waiting for what will not come.
const QUICK: Pace = Pace {
    gap: Duration::ZERO,
    wait: Duration::from_secs(30),
    deadline: Duration::from_secs(30),
    retry: Duration::from_secs(3600),
    longest_retry: Duration::from_secs(3600),
};
/// The key of a token is not among those in use.
const UNKNOWN: Verdict = refused(AuthResult::UnknownKey);
const NEVER: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(20);

fn start(source: JwksSource, refresh: Duration, pace: Pace) -> Arc<Authenticator> {
    let mut config = jwt(source);
    config.jwt.as_mut().unwrap().refresh = refresh;
    Authenticator::start_at(&config, pace, None).unwrap()
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
    let mut loads = fetched(authenticator).loads();
    for _ in 0..2 {
        tokio::time::timeout(Duration::from_secs(30), loads.changed()).await.unwrap().unwrap();
    }
}

fn fetched(authenticator: &Authenticator) -> &Fetched {
    match &authenticator.jwt.as_ref().unwrap().jwks {
        Jwks::Url(fetched) => fetched,
        Jwks::File { .. } => panic!("the keys are those of a file"),
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
    check(&authenticator, &good(&old, "old"), UNKNOWN).await;
}

/// Key ids are the client's to invent.
#[tokio::test]
async fn an_issuer_is_not_asked_at_will() {
    let (key, jwk) = pair("k");
    let issuer = Issuer::start(Answer::Keys(vec![jwk])).await;
    let authenticator = start(JwksSource::Url(issuer.url.clone()), NEVER, Pace { gap: NEVER, ..QUICK });
    check(&authenticator, &good(&key, "k"), known("alice")).await;
    for number in 0..100 {
        check(&authenticator, &good(&key, &format!("made-up-{number}")), UNKNOWN).await;
    }
    check(&authenticator, "not.a.token", refused(AuthResult::Invalid)).await;
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
    check(&authenticator, &token, UNKNOWN).await;
    // Keys that are withdrawn are not a failure.
    issuer.answer(Answer::Keys(Vec::new()));
    becomes(&authenticator, &good(&next, "next"), UNKNOWN).await;
}

#[tokio::test]
async fn an_issuer_that_hangs_delays_a_request_and_no_more() {
    let (key, jwk) = pair("k");
    let issuer = Issuer::start(Answer::Hang).await;
    let pace = Pace { wait: SOON, deadline: Duration::from_millis(100), retry: SOON, ..QUICK };
    let authenticator = start(JwksSource::Url(issuer.url.clone()), NEVER, pace);
    check(&authenticator, &good(&key, "k"), UNKNOWN).await;
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
    check(&authenticator, &good(&key, "k"), UNKNOWN).await;

    let issuer = Issuer::start(Answer::Raw(Vec::new())).await;
    let authenticator = start(JwksSource::Url(issuer.url.clone()), NEVER, Pace { retry: SOON, gap: NEVER, ..QUICK });
    check(&authenticator, &good(&key, "k"), UNKNOWN).await;
    issuer.answer(Answer::Keys(vec![jwk]));
    becomes(&authenticator, &good(&key, "k"), known("alice")).await;
}

#[tokio::test]
async fn the_background_ends_with_its_owner() {
    let issuer = Issuer::start(Answer::Keys(vec![pair("k").1])).await;
    let authenticator = start(JwksSource::Url(issuer.url.clone()), SOON, QUICK);
    loaded(&authenticator).await;
    let mut loads = fetched(&authenticator).loads();
    drop(authenticator);
    // The task holds the other end; it is gone when the channel is closed.
    let closed = async { while loads.changed().await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(30), closed).await.unwrap();
}

/// Another configuration of the gate, which goes on from this one.
fn reloaded(authenticator: &Authenticator, source: JwksSource, change: impl FnOnce(&mut JwtConfig)) -> Arc<Authenticator> {
    let mut config = jwt(source);
    let tokens = config.jwt.as_mut().unwrap();
    tokens.refresh = NEVER;
    change(tokens);
    Authenticator::start_at(&config, QUICK, Some(authenticator)).unwrap()
}

/// The rules may change while the issuer is down: nobody is locked out by that.
#[tokio::test]
async fn fetched_keys_outlive_the_rules_for_claims() {
    let (key, jwk) = pair("k");
    let issuer = Issuer::start(Answer::Keys(vec![jwk])).await;
    let source = JwksSource::Url(issuer.url.clone());
    let first = start(source.clone(), NEVER, Pace { gap: NEVER, ..QUICK });
    let token = good(&key, "k");
    check(&first, &token, known("alice")).await;
    issuer.answer(Answer::Raw(Vec::new()));

    let other_rules = reloaded(&first, source.clone(), |jwt| jwt.audiences = vec!["https://other.test/".to_owned()]);
    check(&other_rules, &token, refused(AuthResult::WrongAudience)).await;
    let other = key.token(&json!({ "alg": "ES256", "kid": "k" }), &claims(json!({ "aud": "https://other.test/", "client_id": "ci" })));
    check(&other_rules, &other, known("alice")).await;
    // A token that was verified is named by the rules of now.
    let other_name = reloaded(&other_rules, source.clone(), |jwt| {
        jwt.audiences = vec!["https://other.test/".to_owned()];
        jwt.name_claim = "client_id".to_owned();
    });
    check(&other_name, &other, known("ci")).await;
    // Fetched at another pace: by another task, which begins with what there is.
    let other_pace = reloaded(&other_name, source.clone(), |jwt| jwt.refresh = NEVER / 2);
    check(&other_pace, &token, known("alice")).await;
    drop((first, other_rules, other_name));
    check(&other_pace, &token, known("alice")).await;
    assert_eq!(issuer.asked(), 1, "nothing was fetched again");

    // What another issuer says counts for nothing here.
    let elsewhere = Issuer::start(Answer::Keys(vec![pair("other").1])).await;
    let moved = reloaded(&other_pace, JwksSource::Url(elsewhere.url.clone()), |_| {});
    check(&moved, &token, UNKNOWN).await;
    assert!(elsewhere.asked() > 0);
    let in_file = reloaded(&other_pace, file(json!({ "keys": [pair("third").1] }).to_string()), |_| {});
    check(&in_file, &token, UNKNOWN).await;
}

#[tokio::test]
async fn how_it_stands_with_the_keys_is_said() {
    let (key, jwk) = pair("k");
    let issuer = Issuer::start(Answer::Raw(b"HTTP/1.1 500 Internal Server Error\r\n\r\n".to_vec())).await;
    let authenticator = start(JwksSource::Url(issuer.url.clone()), NEVER, QUICK);
    let status = || authenticator.jwks().unwrap();
    check(&authenticator, &good(&key, "k"), UNKNOWN).await;
    let failed = status();
    assert_eq!((failed.source, failed.keys, failed.loaded), (issuer.url.clone(), 0, None));
    assert!(failed.trouble.unwrap().contains("500"));
    issuer.answer(Answer::Keys(vec![jwk]));
    becomes(&authenticator, &good(&key, "k"), known("alice")).await;
    let loaded = status();
    assert_eq!((loaded.keys, loaded.trouble), (1, None));
    let at = loaded.loaded.unwrap();
    issuer.answer(Answer::Raw(Vec::new()));
    check(&authenticator, &good(&key, "other"), UNKNOWN).await;
    let stale = status();
    assert_eq!((stale.keys, stale.loaded), (1, Some(at)));
    assert!(stale.trouble.is_some());

    let of_file = with_keys(&[pair("a").1, pair("b").1], |_| {}).jwks().unwrap();
    assert_eq!((of_file.source.as_str(), of_file.keys, of_file.trouble), ("etc/jwks.json", 2, None));
    assert!(of_file.loaded.is_some());
}

/// Each token names a key of its own, and still the issuer is asked once for each gap.
#[tokio::test]
async fn made_up_keys_have_the_issuer_asked_once_for_each_gap() {
    let (key, jwk) = pair("k");
    let issuer = Issuer::start(Answer::Keys(vec![jwk])).await;
    let gap = Duration::from_secs(10);
    let authenticator = start(JwksSource::Url(issuer.url.clone()), NEVER, Pace { gap, ..QUICK });
    check(&authenticator, &good(&key, "k"), known("alice")).await;
    for round in 1..4 {
        // Nothing waits for a time while it stands still: who is not allowed to ask is refused at once.
        tokio::time::pause();
        for number in 0..50 {
            check(&authenticator, &good(&key, &format!("made-up-{number}")), UNKNOWN).await;
        }
        assert_eq!(issuer.asked(), round);
        tokio::time::advance(gap).await;
        tokio::time::resume();
        check(&authenticator, &good(&key, "made-up"), UNKNOWN).await;
        assert_eq!(issuer.asked(), round + 1);
    }
}

#[tokio::test]
async fn a_file_that_cannot_serve_is_refused() {
    let check = |content: &[u8], expected: &str| {
        let source = file(content.to_vec());
        let error = Authenticator::start(&jwt(source), None).err().unwrap().to_string();
        assert!(error.contains("etc/jwks.json") && error.contains(expected), "{error}");
    };
    check(b"", "it must look like {\"keys\": [...]}");
    check(b"\xff\xfe", "it must look like");
    check(b"[1]", "it has no array \"keys\"");
    let short = json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" });
    let secret = json!({ "kty": "oct", "k": "AQAB" });
    let curve = json!({ "kty": "EC", "crv": "secp256k1", "x": "AQAB", "y": "AQAB" });
    let point = json!({ "kty": "EC", "crv": "P-256", "x": "AQAB", "y": "AQAB" });
    for keys in [json!([]), json!([short, secret, curve, point, 7, null, {}, { "kty": 7 }])] {
        check(json!({ "keys": keys }).to_string().as_bytes(), "no key to verify tokens with");
    }
    let error = Authenticator::start(&jwt(JwksSource::Url("issuer.test/keys".to_owned())), None).err().unwrap().to_string();
    assert!(error.contains("\"issuer.test/keys\" is not the address of a JWKS"), "{error}");
}
