//! Tokens that nobody should have been able to make.

use ring::hmac;
use serde_json::{Value, json};

use super::token::{Key, encode, message};
use super::{bearer, claims, good, known, with_keys};
use crate::auth::{Authenticator, Verdict};

async fn check_refused(authenticator: &Authenticator, token: &str, why: &str) {
    let verdict = authenticator.check(&bearer(token)).await;
    assert!(matches!(verdict, Verdict::Refused(_)), "{why}: {verdict:?}: {token}");
}

/// The public key is public: as the secret of an HMAC it would let everybody sign.
#[tokio::test]
async fn a_public_key_is_no_shared_secret() {
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let key = Key::new(algorithm);
        let jwk = key.jwk(json!({ "kid": "k" }));
        let authenticator = with_keys(std::slice::from_ref(&jwk), |_| {});
        assert_eq!(authenticator.check(&bearer(&good(&key, "k"))).await, known("alice"));
        let mut secrets = vec![jwk.to_string().into_bytes(), Vec::new()];
        for member in ["n", "x"] {
            if let Some(text) = jwk[member].as_str() {
                use base64::Engine;
                secrets.push(text.as_bytes().to_vec());
                secrets.push(base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap());
            }
        }
        for (name, hash) in [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)] {
            for secret in &secrets {
                let message = message(&json!({ "alg": name, "kid": "k" }), &claims(json!({})));
                let tag = hmac::sign(&hmac::Key::new(hash, secret), message.as_bytes());
                check_refused(&authenticator, &format!("{message}.{}", encode(tag.as_ref())), name).await;
            }
        }
    }
}

#[tokio::test]
async fn a_shared_secret_in_the_set_verifies_nothing() {
    let key = Key::new("ES256");
    let secret = json!({ "kty": "oct", "kid": "s", "alg": "HS256", "k": encode(b"secret") });
    let authenticator = with_keys(&[key.jwk(json!({ "kid": "k" })), secret], |_| {});
    let message = message(&json!({ "alg": "HS256", "kid": "s" }), &claims(json!({})));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"secret"), message.as_bytes());
    check_refused(&authenticator, &format!("{message}.{}", encode(tag.as_ref())), "shared secret").await;
}

#[tokio::test]
async fn the_key_says_how_it_signs() {
    let rsa = Key::new("RS256");
    let keys = [
        rsa.jwk(json!({ "kid": "rs256", "alg": "RS256" })),
        rsa.jwk(json!({ "kid": "enc", "use": "enc" })),
        rsa.jwk(json!({ "kid": "oaep", "alg": "RSA-OAEP" })),
        rsa.jwk(json!({ "kid": "wrap", "key_ops": ["wrapKey"] })),
        rsa.jwk(json!({ "kid": "hs", "alg": "HS256" })),
        rsa.jwk(json!({ "kid": "es", "alg": "ES256" })),
        Key::new("ES256").jwk(json!({ "kid": "p256" })),
        Key::new("ES384").jwk(json!({ "kid": "p384" })),
    ];
    let authenticator = with_keys(&keys, |_| {});
    let sign = |algorithm: &'static str, kid: &str| {
        let key = Key::new(algorithm);
        key.token(&json!({ "alg": algorithm, "kid": kid }), &claims(json!({})))
    };
    assert_eq!(authenticator.check(&bearer(&sign("RS256", "rs256"))).await, known("alice"));
    for (algorithm, kid) in [
        ("PS256", "rs256"),
        ("RS512", "rs256"),
        ("RS256", "enc"),
        ("RS256", "oaep"),
        ("RS256", "wrap"),
        ("RS256", "hs"),
        ("RS256", "es"),
        ("RS256", "p256"),
    ] {
        check_refused(&authenticator, &sign(algorithm, kid), kid).await;
    }
    // Another pair on the same curve, and the other curve.
    for (algorithm, kid) in [("ES256", "p256"), ("ES384", "p256"), ("ES256", "p384"), ("EdDSA", "p256")] {
        check_refused(&authenticator, &sign(algorithm, kid), kid).await;
    }
}

#[tokio::test]
async fn nothing_may_be_missing_changed_or_left_over() {
    let key = Key::new("ES256");
    let authenticator = with_keys(&[key.jwk(json!({ "kid": "k" }))], |_| {});
    let token = good(&key, "k");
    let parts: Vec<&str> = token.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    let other = encode(claims(json!({ "sub": "admin" })).to_string().as_bytes());
    let none = |alg: &str| encode(json!({ "alg": alg, "kid": "k" }).to_string().as_bytes());
    let mut forged = vec![
        format!("{header}.{other}.{signature}"),
        format!("{header}.{payload}."),
        format!("{header}.{payload}"),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{token}."),
        format!("{token}.{signature}"),
        format!("{token}="),
        format!("{token}A"),
        "..".to_owned(),
        ".".to_owned(),
        "....".to_owned(),
        // The flaw of 2022 in Java: a signature of zeros that fits everything.
        format!("{header}.{payload}.{}", encode(&[0; 64])),
        // A signature as X.509 writes it, which JWS does not.
        format!("{header}.{payload}.{}", encode(&[0x30, 6, 2, 1, 1, 2, 1, 1])),
        format!("{header}.{payload}.{}", "A".repeat(20_000)),
        format!("{}.{payload}.{signature}", encode(b"{}")),
        format!("{}.{payload}.{signature}", encode(b"[]")),
        format!("{}.{payload}.{signature}", encode("[".repeat(5_000).as_bytes())),
        format!("{}.{payload}.{signature}", encode(b"{\"alg\":\"ES256\",\"kid\":\"k\",\"alg\":\"ES256\"}")),
        format!("\"{token}\""),
    ];
    for alg in ["none", "None", "NONE", "", "ES256K", "dir"] {
        forged.push(format!("{}.{other}.", none(alg)));
        forged.push(format!("{}.{other}.{signature}", none(alg)));
    }
    // One bit at each place.
    for index in (0..token.len()).step_by(7) {
        let mut bytes = token.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        forged.push(String::from_utf8(bytes).unwrap());
    }
    for token in forged {
        check_refused(&authenticator, &token, "forged").await;
    }
    assert_eq!(authenticator.check(&bearer(&token)).await, known("alice"));
}

/// The header may carry a key, or say where one is. Neither is believed.
#[tokio::test]
async fn a_token_does_not_bring_its_own_key() {
    let (trusted, evil) = (Key::new("ES256"), Key::new("ES256"));
    let authenticator = with_keys(&[trusted.jwk(json!({ "kid": "k" }))], |_| {});
    let own = [
        json!({ "alg": "ES256", "jwk": evil.jwk(json!({})) }),
        json!({ "alg": "ES256", "kid": "k", "jwk": evil.jwk(json!({ "kid": "k" })) }),
        json!({ "alg": "ES256", "jku": "http://127.0.0.1:1/keys", "kid": "evil" }),
        json!({ "alg": "ES256", "x5u": "http://127.0.0.1:1/keys", "x5c": ["AAAA"] }),
        json!({ "alg": "ES256", "kid": "../../../../dev/null" }),
        json!({ "alg": "ES256", "kid": "" }),
        json!({ "alg": "ES256" }),
    ];
    for header in own {
        check_refused(&authenticator, &evil.token(&header, &claims(json!({}))), "own key").await;
    }
    // A critical extension must be understood, even where the signature is good.
    let critical = json!({ "alg": "ES256", "kid": "k", "crit": ["b64"], "b64": false });
    check_refused(&authenticator, &trusted.token(&critical, &claims(json!({}))), "critical").await;
}

#[tokio::test]
async fn a_token_without_key_id_is_tried_with_all() {
    let keys: Vec<Key> = (0..12).map(|_| Key::new("ES256")).collect();
    let rsa = Key::new("PS256");
    let mut set: Vec<Value> = vec![rsa.jwk(json!({ "kid": "r" }))];
    set.extend(keys.iter().map(|key| key.jwk(json!({}))));
    let authenticator = with_keys(&set, |_| {});
    let unnamed = |key: &Key| key.token(&json!({ "alg": key.algorithm() }), &claims(json!({})));
    assert_eq!(authenticator.check(&bearer(&unnamed(&keys[0]))).await, known("alice"));
    assert_eq!(authenticator.check(&bearer(&unnamed(&keys[7]))).await, known("alice"));
    assert_eq!(authenticator.check(&bearer(&unnamed(&rsa))).await, known("alice"), "keys of other kinds do not count");
    check_refused(&authenticator, &unnamed(&keys[8]), "one more than is tried").await;
}
