//! `[guard]` and `[auth]`: who may ask.

use std::time::Duration;

use watchgate_proxy::{AuthConfig, ClientKey, JwksSource, JwtConfig};

use super::part::{FileReader, Part};
use super::{keys, secret, servers};
use crate::server_url;

const JWT_LEEWAY: Duration = Duration::from_secs(30);
const JWT_REFRESH: Duration = Duration::from_secs(300);
/// Those of large issuers have some 10 KiB.
const MAX_JWKS_BYTES: u64 = 1 << 20;

/// What `[guard]` says. What it does not say follows from the listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardSettings {
    /// `guard.hosts`.
    pub hosts: Option<Vec<String>>,
    /// `guard.origins`.
    pub origins: Option<Vec<String>>,
}

/// Reads `[guard]`.
pub fn read_guard(reader: &mut FileReader<'_>, top: &Part<'_, '_>) -> GuardSettings {
    let Some(part) = reader.part(top, "guard") else { return GuardSettings::default() };
    let hosts = reader.texts(&part, "hosts");
    for host in hosts.iter().flatten() {
        let name = host.strip_prefix("*.").unwrap_or(host);
        if host != "*" && !servers::is_host(name) {
            reader.complain(part.at("hosts"), format!("`guard.hosts` names \"{host}\", which is no host name without port"));
        }
    }
    let origins = reader.texts(&part, "origins");
    for origin in origins.iter().flatten() {
        if !matches!(origin.as_str(), "*" | "null") && !is_origin(origin) {
            reader.complain(
                part.at("origins"),
                format!("`guard.origins` names \"{origin}\", which is no origin such as https://app.example.com"),
            );
        }
    }
    GuardSettings { hosts: hosts.map(lower_case), origins: origins.map(lower_case) }
}

fn lower_case(texts: Vec<String>) -> Vec<String> {
    texts.iter().map(|text| text.to_ascii_lowercase()).collect()
}

/// `SCHEME://HOST[:PORT]`, with `*.` before the host or without.
fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let (host, port_is_sound) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().is_ok()),
        _ => (rest, true),
    };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme && port_is_sound && servers::is_host(host.strip_prefix("*.").unwrap_or(host))
}

/// Reads `[auth]`.
pub fn read_auth(reader: &mut FileReader<'_>, top: &Part<'_, '_>) -> Option<AuthConfig> {
    let part = reader.part(top, "auth")?;
    let pass_authorization = reader.flag(&part, "pass_authorization").unwrap_or_default();
    let mut found = read_keys(reader, &part);
    let keys_file = reader.file(&part, "keys_file");
    if let Some(path) = &keys_file {
        found.extend(read_keys_file(reader, &part, path));
    }
    for mistake in keys::shared_by_names(&found) {
        reader.complain(part.at("keys"), format!("`auth.keys`: {mistake}"));
    }
    let jwt = reader.part(&part, "jwt").and_then(|part| read_jwt(reader, &part, pass_authorization));
    if !["keys", "keys_file", "jwt"].iter().any(|key| part.has(key)) {
        reader.complain(part.at("keys"), "`[auth]` names nobody: add `[[auth.keys]]`, `auth.keys_file` or `[auth.jwt]`, or take it out");
    }
    Some(AuthConfig { keys: found, jwt, pass_authorization })
}

fn read_keys(reader: &mut FileReader<'_>, auth: &Part<'_, '_>) -> Vec<ClientKey> {
    let mut found = Vec::new();
    for part in reader.list(auth, "keys") {
        let name = reader.text(&part, "name");
        let secret = reader.secret(&part, "key");
        let Some((name, secret)) = name.zip(secret) else { continue };
        match keys::key(&name, secret.expose()) {
            Ok(key) => found.push(key),
            Err(problem) => reader.complain(part.at("key"), format!("`auth.keys.key`: {problem}")),
        }
    }
    found
}

fn read_keys_file(reader: &mut FileReader<'_>, auth: &Part<'_, '_>, path: &std::path::Path) -> Vec<ClientKey> {
    let mistakes = match secret::read(path).map(|text| keys::parse(&text)) {
        // Most likely cut short by whoever was to write it; who means it takes the key out of the configuration.
        Ok(Ok(keys)) if keys.is_empty() => vec![format!("{} has no key: add a line NAME:KEY, or take `keys_file` out", path.display())],
        Ok(Ok(keys)) => return keys,
        Ok(Err(mistakes)) => mistakes.into_iter().map(|(line, problem)| format!("{}:{line}: {problem}", path.display())).collect(),
        Err(problem) => vec![problem],
    };
    for mistake in mistakes {
        reader.complain(auth.at("keys_file"), format!("`auth.keys_file`: {mistake}"));
    }
    Vec::new()
}

fn read_jwt(reader: &mut FileReader<'_>, part: &Part<'_, '_>, pass_authorization: bool) -> Option<JwtConfig> {
    let file = read_jwks_file(reader, part);
    let url = reader.parsed(part, "jwks_url", |text| server_url::fetched(text, "https://issuer.example.com/jwks"));
    match (part.has("jwks_file"), part.has("jwks_url")) {
        (true, true) => {
            reader.complain(part.at("jwks_url"), "`auth.jwt.jwks_file` and `auth.jwt.jwks_url` exclude each other; keep one of them")
        }
        (false, false) => reader.complain(part.at("jwks_file"), "`[auth.jwt]` has no keys: set `jwks_file` or `jwks_url`"),
        _ => {}
    }
    let issuers = at_least_one(reader, part, "issuers");
    let audiences = at_least_one(reader, part, "audiences");
    let authorization_servers = read_authorization_servers(reader, part).unwrap_or_else(|| {
        // A server that is handed the tokens knows best what it takes.
        issuers.iter().filter(|issuer| !pass_authorization && server_url::issuer(issuer).is_ok()).cloned().collect()
    });
    let name_claim = reader.text(part, "name_claim").unwrap_or_else(|| "sub".to_owned());
    let leeway = reader.duration(part, "leeway").unwrap_or(JWT_LEEWAY);
    let refresh = reader.duration(part, "refresh").unwrap_or(JWT_REFRESH);
    let jwks = file.or(url.map(JwksSource::Url))?;
    Some(JwtConfig { jwks, issuers, audiences, name_claim, leeway, refresh, authorization_servers })
}

fn read_jwks_file(reader: &mut FileReader<'_>, part: &Part<'_, '_>) -> Option<JwksSource> {
    let path = reader.file(part, "jwks_file")?;
    match secret::read_at_most(&path, MAX_JWKS_BYTES) {
        Ok(text) => Some(JwksSource::File { path, content: text.into() }),
        Err(problem) => {
            reader.complain(part.at("jwks_file"), format!("`auth.jwt.jwks_file` {problem}"));
            None
        }
    }
}

fn read_authorization_servers(reader: &mut FileReader<'_>, part: &Part<'_, '_>) -> Option<Vec<String>> {
    part.has("authorization_servers").then(|| {
        let found = at_least_one(reader, part, "authorization_servers");
        for problem in found.iter().filter_map(|url| server_url::issuer(url).err()) {
            reader.complain(part.at("authorization_servers"), format!("`auth.jwt.authorization_servers` {problem}"));
        }
        found
    })
}

/// A token for anybody, or of anybody, would be no proof of anything.
fn at_least_one(reader: &mut FileReader<'_>, part: &Part<'_, '_>, key: &'static str) -> Vec<String> {
    let found = reader.texts(part, key).unwrap_or_default();
    if part.has(key) && found.is_empty() {
        reader.complain(part.at(key), format!("`auth.jwt.{key}` must name at least one"));
    }
    found
}
