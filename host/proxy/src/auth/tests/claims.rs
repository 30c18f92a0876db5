//! Claims: who issued a token, for whom, for how long, and whose it is.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use watchgate_telemetry::AuthResult;

use super::token::{Key, now};
use super::{AUDIENCE, bearer, claims, good, known, refused, with_keys};
use crate::auth::Verdict;
use crate::auth::verified::Known;

#[tokio::test]
async fn every_asymmetric_algorithm_is_verified() {
    for algorithm in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"] {
        let key = Key::new(algorithm);
        for changes in [json!({ "kid": "k" }), json!({ "kid": "k", "alg": algorithm, "use": "sig", "key_ops": ["verify"] })] {
            let authenticator = with_keys(&[key.jwk(changes)], |_| {});
            let token = good(&key, "k");
            for _ in 0..3 {
                assert_eq!(authenticator.check(&bearer(&token)).await, known("alice"), "{algorithm}");
            }
        }
    }
}

#[tokio::test]
async fn claims_decide() {
    let key = Key::new("ES256");
    let authenticator = with_keys(&[key.jwk(json!({ "kid": "k" }))], |_| {});
    let check = async |changes: Value, expected: Verdict| {
        let token = key.token(&json!({ "alg": "ES256", "kid": "k" }), &claims(changes.clone()));
        assert_eq!(authenticator.check(&bearer(&token)).await, expected, "{changes}");
        assert_eq!(authenticator.check(&bearer(&token)).await, expected, "{changes}, the second time");
    };
    let now = now();
    check(json!({}), known("alice")).await;
    check(json!({ "iss": "https://second.test/" }), known("alice")).await;
    check(json!({ "aud": ["https://other.test/", AUDIENCE] }), known("alice")).await;
    check(json!({ "nbf": null }), known("alice")).await;
    check(json!({ "exp": now as f64 + 600.5 }), known("alice")).await;
    check(json!({ "exp": u64::MAX }), known("alice")).await;
    check(json!({ "sub": null }), known("_unnamed")).await;
    check(json!({ "sub": 7 }), known("7")).await;
    // The tolerance is 30 s.
    check(json!({ "exp": now - 5 }), known("alice")).await;
    check(json!({ "nbf": now + 10 }), known("alice")).await;
    check(json!({ "exp": now - 40 }), refused(AuthResult::Expired)).await;
    check(json!({ "exp": 0 }), refused(AuthResult::Expired)).await;
    check(json!({ "nbf": now + 300 }), refused(AuthResult::NotYetValid)).await;
    for exp in [json!(null), json!("9999999999"), json!(-1), json!(1e300), json!([now + 600]), json!({}), json!(true)] {
        check(json!({ "exp": exp }), refused(AuthResult::MissingClaim)).await;
    }
    for nbf in [json!("0"), json!(1e300), json!([])] {
        check(json!({ "nbf": nbf }), refused(AuthResult::MissingClaim)).await;
    }
    for iss in [json!("https://issuer.test"), json!("https://evil.test/"), json!("")] {
        check(json!({ "iss": iss }), refused(AuthResult::WrongIssuer)).await;
    }
    for aud in [json!("https://other.test/"), json!([]), json!(["https://other.test/"])] {
        check(json!({ "aud": aud }), refused(AuthResult::WrongAudience)).await;
    }
    for none in [json!(null), json!(7), json!({}), json!([[AUDIENCE]]), json!({ AUDIENCE: 1 })] {
        check(json!({ "iss": none }), refused(AuthResult::MissingClaim)).await;
        check(json!({ "aud": none }), refused(AuthResult::MissingClaim)).await;
    }
}

#[tokio::test]
async fn settings_decide_on_claims() {
    let key = Key::new("EdDSA");
    let keys = [key.jwk(json!({ "kid": "k" }))];
    let token = |changes: Value| key.token(&json!({ "alg": "EdDSA", "kid": "k" }), &claims(changes));

    let lenient = with_keys(&keys, |jwt| {
        jwt.issuers.clear();
        jwt.audiences.clear();
        jwt.name_claim = "client_id".to_owned();
    });
    let other = token(json!({ "iss": null, "aud": "anybody", "client_id": "cli\u{7}ent" }));
    assert_eq!(lenient.check(&bearer(&other)).await, known("cli_ent"));
    assert_eq!(lenient.check(&bearer(&token(json!({ "aud": null })))).await, known("_unnamed"));
    assert_eq!(lenient.check(&bearer(&token(json!({ "exp": null })))).await, refused(AuthResult::MissingClaim));

    let endless = with_keys(&keys, |jwt| jwt.leeway = std::time::Duration::MAX);
    assert_eq!(endless.check(&bearer(&token(json!({ "exp": now() - 3600 })))).await, known("alice"));
    assert_eq!(endless.check(&bearer(&token(json!({ "exp": 0 })))).await, refused(AuthResult::Expired));
}

/// A verified token is remembered, but not beyond its time.
#[tokio::test]
async fn a_remembered_token_expires() {
    let key = Key::new("ES256");
    let authenticator = with_keys(&[key.jwk(json!({ "kid": "k" }))], |_| {});
    let token = good(&key, "k");
    let headers = bearer(&token);
    assert_eq!(authenticator.check(&headers).await, known("alice"));
    let digest = Sha256::digest(&token).into();
    let verified = &authenticator.jwt.as_ref().unwrap().verified;
    let remembered = verified.lock().get(&digest).unwrap();
    // As if that much time had passed; the tolerance is 30 s.
    for (expires, expected) in [(now() - 5, known("alice")), (now() - 40, refused(AuthResult::Expired))] {
        verified.lock().insert(digest, Known { expires, ..remembered.clone() });
        assert_eq!(authenticator.check(&headers).await, expected);
    }
}
