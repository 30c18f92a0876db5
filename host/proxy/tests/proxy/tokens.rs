//! The gate for clients with tokens: whose they are, which are refused and why, and where their keys come from.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;
use watchgate_proxy::{AuthConfig, JwksSource, JwtConfig, ProxyConfig, RateKey, RateLimit};
use watchgate_tests::{Gate, Scripted, wait_until};

use crate::admission::{INVALID, KEY, answering, check_challenged, key, with_keys};
use crate::rig::{CALL, Conditions, Rig, config, server};

/// Signs tokens.
pub struct Issuer {
    id: &'static str,
    key: Ed25519KeyPair,
}

impl Issuer {
    pub fn new(id: &'static str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { id, key: Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap() }
    }

    pub fn keys(&self) -> String {
        let x = BASE64.encode(self.key.public_key().as_ref());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.id, "x": x}]}).to_string()
    }

    /// A file with its keys.
    pub fn file(&self) -> JwksSource {
        JwksSource::File { path: "jwks.json".into(), content: self.keys().into() }
    }

    pub fn token(&self, audience: &str, expires_in: i64) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
        let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": self.id});
        let claims = json!({"iss": "https://issuer.test", "aud": audience, "sub": "carol", "exp": now + expires_in});
        let signed = [header, claims].map(|part| BASE64.encode(part.to_string())).join(".");
        format!("Bearer {signed}.{}", BASE64.encode(self.key.sign(signed.as_bytes())))
    }
}

pub fn with_tokens(upstream: &Scripted, jwks: JwksSource) -> ProxyConfig {
    let second = std::time::Duration::from_secs(1);
    let jwt = JwtConfig {
        jwks,
        issuers: vec!["https://issuer.test".into()],
        audiences: vec!["gateway".into()],
        name_claim: "sub".into(),
        leeway: second,
        refresh: 3600 * second,
        authorization_servers: Vec::new(),
    };
    let auth = AuthConfig { keys: vec![key("ann", KEY)], jwt: Some(jwt), pass_authorization: true };
    ProxyConfig { auth: Some(auth), ..config(vec![server(&[upstream.address()])]) }
}

#[test]
fn tokens_of_the_issuer_are_let_in_beside_keys() {
    let (issuer, stranger) = (Issuer::new("a"), Issuer::new("a"));
    let upstream = answering();
    let rig = Rig::new(with_tokens(&upstream, issuer.file()));
    let with = |value: &str| rig.post_with(&[("Authorization", value)], CALL);
    let good = issuer.token("gateway", 60);
    assert_eq!(with(&good).status(), 200);
    assert_eq!(with(&format!("Bearer {KEY}")).status(), 200);
    assert_eq!(upstream.requests()[0].head.header("authorization"), Some(good.as_str()));
    check_challenged(
        &with(&issuer.token("gateway", -60)),
        "Bearer error=\"invalid_token\", error_description=\"The access token expired\"",
    );
    check_challenged(&with(&issuer.token("another", 60)), INVALID);
    check_challenged(&with(&stranger.token("gateway", 60)), INVALID);
    check_challenged(&with(&format!("{good}x")), INVALID);
    rig.wait_for("watchgate_client_requests_total", &[("client", "jwt:carol")], 1.0);
    for result in ["expired", "wrong_audience", "wrong_signature", "invalid"] {
        rig.wait_for("watchgate_auth_total", &[("result", result)], 1.0);
    }
    rig.wait_for("watchgate_jwks_keys", &[], 1.0);
    assert!(rig.metrics().metric("watchgate_jwks_last_load_timestamp_seconds", &[]) > 1e9);
    rig.apply(with_keys(&upstream, false));
    wait_until("keys of nobody are not shown", || rig.metrics().find("watchgate_jwks_keys", &[]).is_none().then_some(()));
}

/// Who may choose a claim at the issuer is not the bearer of a key for it.
#[test]
fn a_token_is_never_the_client_of_a_key() {
    let issuer = Issuer::new("a");
    let upstream = answering();
    let mut settings = with_tokens(&upstream, issuer.file());
    settings.auth.as_mut().unwrap().keys = vec![key("carol", KEY)];
    settings.servers[0].limits.rate = Some(RateLimit { per_second: 0.001, burst: 1, by: RateKey::Client });
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let rig = Rig::under(Conditions { access_log: Some(log.clone()), ..Conditions::default() }, settings);
    let token = issuer.token("gateway", 60);
    let with = |value: &str| rig.post_with(&[("Authorization", value)], CALL).status();
    let by_key = format!("Bearer {KEY}");
    assert_eq!((with(&token), with(&by_key), with(&token), with(&by_key)), (200, 200, 429, 429), "each has a bucket of its own");
    for client in ["carol", "jwt:carol"] {
        rig.wait_for("watchgate_client_requests_total", &[("client", client)], 2.0);
    }
    assert_eq!(with(&issuer.token("another", 60)), 401);
    rig.telemetry.flush(std::time::Duration::from_secs(10));
    let text = std::fs::read_to_string(log).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said: Vec<_> = lines.iter().map(|line| (line["client_name"].as_str(), line["auth_result"].as_str())).collect();
    let (token, key) = ((Some("jwt:carol"), None), (Some("carol"), None));
    assert_eq!(said, [token, key, token, key, (None, Some("wrong_audience"))]);
}

#[test]
fn keys_are_fetched_and_fetched_again_for_a_token_of_a_new_one() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let served = std::sync::Arc::new(std::sync::Mutex::new(old.keys()));
    let issuing = Scripted::start_for_the_gateway_too({
        let served = served.clone();
        move |exchange| {
            let keys = served.lock().unwrap().clone();
            exchange.json(200, keys)
        }
    });
    let upstream = answering();
    let rig = Rig::new(with_tokens(&upstream, JwksSource::Url(format!("{}/jwks", issuing.url()))));
    let with = |value: &str| rig.post_with(&[("Authorization", value)], CALL).status();
    wait_until("the keys have come", || (with(&old.token("gateway", 60)) == 200).then_some(()));
    *served.lock().unwrap() = new.keys();
    wait_until("the new key has come", || (with(&new.token("gateway", 60)) == 200).then_some(()));
    assert_eq!(with(&old.token("gateway", 60)), 401);
    assert_eq!(with(&format!("Bearer {KEY}")), 200);
}

/// The gate is changed on the day on which the issuer is down: whoever had a good token still gets in.
#[test]
fn a_change_of_the_gate_keeps_the_keys_that_were_fetched() {
    let issuer = Issuer::new("a");
    let is_down = Gate::default();
    let issuing = Scripted::start_for_the_gateway_too({
        let (is_down, keys) = (is_down.clone(), issuer.keys());
        move |exchange| if is_down.is_open() { exchange.respond(503, &[], b"") } else { exchange.json(200, keys.clone()) }
    });
    let upstream = answering();
    let mut settings = with_tokens(&upstream, JwksSource::Url(format!("{}/jwks", issuing.url())));
    let rig = Rig::new(settings.clone());
    let token = issuer.token("gateway", 60);
    let status = || rig.post_with(&[("Authorization", &token)], CALL).status();
    wait_until("the keys have come", || (status() == 200).then_some(()));
    is_down.open();
    let auth = settings.auth.as_mut().unwrap();
    auth.keys.push(key("bob", "bobs"));
    auth.jwt.as_mut().unwrap().audiences.push("another".into());
    rig.apply(settings);
    assert_eq!(status(), 200);
    assert_eq!(rig.post_with(&[("Authorization", &issuer.token("another", 60))], CALL).status(), 200, "by the rules of now");
    assert_eq!(issuing.requests().len(), 1);
}
