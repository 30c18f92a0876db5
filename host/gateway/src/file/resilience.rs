//! The parts of `[servers.NAME]` that bound its use and say what happens when it fails.

use http::HeaderName;
use watchgate_proxy::{RateKey, RateLimit, ServerConfig};

use super::part::{FileReader, Part};

/// Reads them into `server`, whose values are the defaults.
pub fn read(reader: &mut FileReader<'_>, part: &Part<'_, '_>, server: &mut ServerConfig) {
    server.limits.concurrency = reader.count(part, "max_concurrency");
    server.limits.streams_per_client = reader.count(part, "max_streams_per_client");
    server.slow_start = reader.duration(part, "slow_start").unwrap_or(server.slow_start);
    if let Some(rate) = reader.part(part, "rate") {
        server.limits.rate = read_rate(reader, &rate);
    }
    if let Some(part) = reader.part(part, "breaker") {
        let breaker = &mut server.breaker;
        breaker.enabled = reader.flag(&part, "enabled").unwrap_or(breaker.enabled);
        breaker.error_share = reader.number(&part, "error_share").unwrap_or(breaker.error_share);
        breaker.min_requests = reader.count(&part, "min_requests").unwrap_or(breaker.min_requests);
        breaker.window = reader.duration(&part, "window").unwrap_or(breaker.window);
        breaker.connect_failures = reader.count(&part, "connect_failures").unwrap_or(breaker.connect_failures);
        breaker.open = reader.duration(&part, "open").unwrap_or(breaker.open);
    }
    if let Some(part) = reader.part(part, "ejection") {
        let ejection = &mut server.ejection;
        ejection.consecutive_failures = reader.count(&part, "consecutive_failures").unwrap_or(ejection.consecutive_failures);
        ejection.base = reader.duration(&part, "base").unwrap_or(ejection.base);
        ejection.max_share = reader.number(&part, "max_share").unwrap_or(ejection.max_share);
    }
    if let Some(part) = reader.part(part, "retry") {
        let retry = &mut server.retry;
        retry.max = reader.count(&part, "max").unwrap_or(retry.max);
        retry.backoff = reader.duration(&part, "backoff").unwrap_or(retry.backoff);
        retry.budget = reader.number(&part, "budget").unwrap_or(retry.budget);
        retry.min_per_second = reader.count(&part, "min_per_second").unwrap_or(retry.min_per_second);
    }
}

fn read_rate(reader: &mut FileReader<'_>, part: &Part<'_, '_>) -> Option<RateLimit> {
    let per_second = reader.number(part, "per_second");
    let burst = reader.count(part, "burst");
    let by = reader.parsed(part, "by", rate_key).unwrap_or(RateKey::Address);
    let per_second = per_second?;
    Some(RateLimit { per_second, burst: burst.unwrap_or_else(|| rounded_up(per_second)), by })
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the bounds of the key are those of a u32")]
fn rounded_up(per_second: f64) -> u32 {
    per_second.ceil().max(1.0) as u32
}

fn rate_key(text: &str) -> Result<RateKey, String> {
    match (text, text.strip_prefix("header:")) {
        ("address", _) => Ok(RateKey::Address),
        ("session", _) => Ok(RateKey::Session),
        ("client", _) => Ok(RateKey::Client),
        (_, Some(name)) => name.parse::<HeaderName>().map(RateKey::Header).map_err(|_| format!("names \"{name}\", which is no header")),
        _ => Err(format!("must be \"address\", \"session\", \"client\" or \"header:NAME\", not \"{text}\"")),
    }
}
