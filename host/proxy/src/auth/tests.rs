//! Real keys, real tokens, and an issuer on loopback.

mod claims;
mod forgery;
mod issuer;
mod presented;
mod rotation;
mod token;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderValue};
use serde_json::json;

use super::{Authenticator, Verdict};
use crate::config::{AuthConfig, JwksSource, JwtConfig};
use token::{Key, now};
use watchgate_telemetry::AuthResult;

const ISSUER: &str = "https://issuer.test/";
const AUDIENCE: &str = "https://mcp.test/";

fn jwt(jwks: JwksSource) -> AuthConfig {
    let jwt = JwtConfig {
        jwks,
        issuers: vec![ISSUER.to_owned(), "https://second.test/".to_owned()],
        audiences: vec![AUDIENCE.to_owned()],
        name_claim: "sub".to_owned(),
        leeway: Duration::from_secs(30),
        refresh: Duration::from_secs(3600),
        authorization_servers: Vec::new(),
    };
    AuthConfig { keys: Vec::new(), jwt: Some(jwt), pass_authorization: false }
}

/// A file with this in it.
fn file(content: impl Into<Bytes>) -> JwksSource {
    JwksSource::File { path: "etc/jwks.json".into(), content: content.into() }
}

/// An authenticator with a file of these keys.
fn with_keys(keys: &[serde_json::Value], change: impl FnOnce(&mut JwtConfig)) -> Arc<Authenticator> {
    let mut config = jwt(file(json!({ "keys": keys }).to_string()));
    change(config.jwt.as_mut().unwrap());
    Authenticator::start(&config, None).unwrap()
}

fn bearer(token: &str) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap())])
}

/// A client with a token.
fn known(name: &str) -> Verdict {
    Verdict::Known(format!("jwt:{name}").into())
}

/// Claims that are good, apart from these.
fn claims(changes: serde_json::Value) -> serde_json::Value {
    let mut claims = json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now() + 600, "nbf": now() - 10, "iat": now() - 10 });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

/// A token that is good, signed by this key under this key id.
fn good(key: &Key, kid: &str) -> String {
    key.token(&json!({ "alg": key.algorithm(), "kid": kid, "typ": "JWT" }), &claims(json!({})))
}

/// Somebody who is not let in for this reason.
const fn refused(why: AuthResult) -> Verdict {
    Verdict::Refused(why)
}
