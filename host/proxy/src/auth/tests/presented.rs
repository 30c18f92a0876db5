//! What clients present, and what they are told.

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};
use watchgate_telemetry::AuthResult;

use super::refused;
use crate::auth::{Authenticator, Verdict, challenge};
use crate::config::{AuthConfig, ClientKey};

const INVALID: Verdict = refused(AuthResult::Invalid);

/// The bearer of a key.
fn known(name: &str) -> Verdict {
    Verdict::Known(name.into())
}

fn config() -> AuthConfig {
    let key = |name: &str, key: &str| ClientKey { name: name.to_owned(), digest: Sha256::digest(key).into() };
    let keys = vec![key("ci", "key-of-ci"), key("desk", "key-of-desk"), key("again", "key-of-ci")];
    AuthConfig { keys, jwt: None, pass_authorization: false }
}

#[tokio::test]
async fn keys_are_bound_to_names() {
    let authenticator = Authenticator::start(&config(), None).unwrap();
    let check = async |values: &[&[u8]], expected: Verdict| {
        let headers: HeaderMap = values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_bytes(value).unwrap())).collect();
        let shown: Vec<_> = values.iter().map(|value| String::from_utf8_lossy(value)).collect();
        assert_eq!(authenticator.check(&headers).await, expected, "{shown:?}");
    };
    for good in [&b"Bearer key-of-ci"[..], b"bearer key-of-ci", b"BEARER   key-of-ci", b"Bearer key-of-ci "] {
        check(&[good], known("ci")).await;
    }
    check(&[b"Bearer key-of-desk"], known("desk")).await;
    for none in [&b""[..], b"Bearer", b"Bearer ", b"Basic a2V5LW9mLWNp", b"key-of-ci", b"Bearerkey-of-ci"] {
        check(&[none], Verdict::Missing).await;
    }
    check(&[], Verdict::Missing).await;
    for wrong in
        [&b"Bearer key-of-c"[..], b"Bearer key-of-cix", b"Bearer KEY-OF-CI", b"Bearer key-of-ci key-of-ci", b"Bearer a.b.c", b"Bearer \xff"]
    {
        check(&[wrong], INVALID).await;
    }
    check(&[b"Bearer key-of-ci", b"Bearer key-of-ci"], INVALID).await;
    check(&[b"Bearer nonsense", b"Bearer key-of-ci"], INVALID).await;
}

#[tokio::test]
async fn with_no_way_in_nobody_gets_in() {
    let authenticator = Authenticator::start(&AuthConfig { keys: Vec::new(), ..config() }, None).unwrap();
    assert_eq!(authenticator.check(&super::bearer("key-of-ci")).await, INVALID);
}

#[test]
fn refusals_name_an_error_only_where_something_was_given() {
    let check = |verdict: Verdict, expected: &str| assert_eq!(challenge(&verdict, None), expected);
    check(Verdict::Missing, "Bearer");
    check(INVALID, "Bearer error=\"invalid_token\"");
    check(refused(AuthResult::Expired), "Bearer error=\"invalid_token\", error_description=\"The access token expired\"");
    check(known("ci"), "Bearer");
}
