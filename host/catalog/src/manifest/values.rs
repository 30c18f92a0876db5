//! How one value of a settings file is read: durations, sizes, kinds, grants. Each parser answers with the sentence
//! that completes "KEY ...".

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;
use watchgate_hooks::{KindSet, PluginKind};

/// What a value parser answers.
pub type Parsed<T> = Result<T, String>;

/// `true` or `false`.
pub fn boolean(value: &DeValue<'_>) -> Parsed<bool> {
    value.as_bool().ok_or_else(|| wanted("true or false", value))
}

/// An integer within `range`.
pub fn integer(value: &DeValue<'_>, range: RangeInclusive<i64>) -> Parsed<i64> {
    let integer = value.as_integer().ok_or_else(|| wanted("an integer", value))?;
    i64::from_str_radix(integer.as_str(), integer.radix())
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("must lie in {}..={}", range.start(), range.end()))
}

/// A duration as `"20ms"`, `"1s"`, `"5m"`, `"1h"`, within `range`.
pub fn duration(value: &DeValue<'_>, range: RangeInclusive<Duration>) -> Parsed<Duration> {
    let form = "a duration such as \"20ms\", \"10s\", \"5m\" or \"1h\"";
    let text = value.as_str().ok_or_else(|| wanted(form, value))?;
    let (number, unit) = split_unit(text).ok_or_else(|| format!("must be {form}, not \"{text}\""))?;
    let milliseconds = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let factor = milliseconds.ok_or_else(|| format!("must be {form}, not \"{text}\""))?;
    let found = Duration::from_millis(number.saturating_mul(factor));
    if range.contains(&found) { Ok(found) } else { Err(format!("must lie between {:?} and {:?}", range.start(), range.end())) }
}

/// A size in bytes as `"64KiB"`, `"16MiB"`, `"1GiB"`, within `range`.
pub fn size(value: &DeValue<'_>, range: RangeInclusive<u64>) -> Parsed<u64> {
    let form = "a size such as \"64KiB\", \"16MiB\" or \"1GiB\"";
    let text = value.as_str().ok_or_else(|| wanted(form, value))?;
    let (number, unit) = split_unit(text).ok_or_else(|| format!("must be {form}, not \"{text}\""))?;
    let bytes = match unit {
        "B" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    let factor = bytes.ok_or_else(|| format!("must be {form}, not \"{text}\""))?;
    let found = number.saturating_mul(factor);
    if range.contains(&found) { Ok(found) } else { Err(format!("must lie between {} and {} bytes", range.start(), range.end())) }
}

/// A list of strings without repetition.
pub fn strings(value: &DeValue<'_>) -> Parsed<BTreeSet<String>> {
    let list = value.as_array().ok_or_else(|| wanted("a list of strings", value))?;
    let mut found = BTreeSet::new();
    for item in list {
        let text = item.get_ref().as_str().ok_or_else(|| wanted("a list of strings", item.get_ref()))?;
        found.insert(text.to_owned());
    }
    Ok(found)
}

/// A list of plugin kinds, at least one.
pub fn kinds(value: &DeValue<'_>) -> Parsed<KindSet> {
    let names = strings(value)?;
    let mut found = KindSet::new();
    for name in &names {
        let kind = PluginKind::ALL.into_iter().find(|kind| kind.as_str() == name);
        found.insert(kind.ok_or_else(|| format!("names \"{name}\", which is no kind: {}", kind_names()))?);
    }
    if found.is_empty() { Err(format!("must name at least one kind: {}", kind_names())) } else { Ok(found) }
}

/// Hosts as `"HOST:PORT"` or `"HOST"`. No patterns: what a plugin may reach can be read off the file.
pub fn hosts(value: &DeValue<'_>) -> Parsed<BTreeSet<String>> {
    let hosts = strings(value)?;
    match hosts.iter().find(|host| !is_authority(host)) {
        Some(host) => Err(format!("names \"{host}\", which is neither HOST:PORT nor HOST")),
        None => Ok(hosts),
    }
}

/// Names of environment variables.
pub fn variables(value: &DeValue<'_>) -> Parsed<BTreeSet<String>> {
    let names = strings(value)?;
    match names.iter().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
        Some(name) => Err(format!("names {name:?}, which no environment variable can be called")),
        None => Ok(names),
    }
}

/// The complaint about a value of the wrong type.
pub fn wanted(what: &str, value: &DeValue<'_>) -> String {
    format!("must be {what}, not a value of type {}", value.type_str())
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit))
}

fn kind_names() -> String {
    PluginKind::ALL.map(PluginKind::as_str).join(", ")
}

fn is_authority(text: &str) -> bool {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, rest)) = rest.split_once(']') else { return false };
        let port_is_sound = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
        return port_is_sound && address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let (host, port_is_sound) = text.split_once(':').map_or((text, true), |(host, port)| (host, is_port(port)));
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    port_is_sound && !host.is_empty() && host.bytes().all(sound)
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port != 0)
}
