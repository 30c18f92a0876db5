//! The keys of a table that say where telemetry is pushed to, and how.

use http::{HeaderName, HeaderValue};
use watchgate_telemetry::{Compression, HeaderValueText, PushConfig, PushTls};

use super::part::{FileReader, Part};
use crate::server_url;

/// What the URL of a collector looks like.
pub const EXAMPLE: &str = "http://collector.example.com:4318";

/// Reads them into `push`, whose values are the defaults. `table` is how the table is called in complaints.
pub fn read(reader: &mut FileReader<'_>, part: &Part<'_, '_>, table: &str, push: &mut PushConfig) {
    push.endpoint = reader.parsed(part, "endpoint", |text| server_url::fetched(text, EXAMPLE)).unwrap_or_default();
    push.compression = reader.one_of(part, "compression").and_then(|word| compression(&word)).unwrap_or(push.compression);
    push.timeout = reader.duration(part, "timeout").unwrap_or(push.timeout);
    for (name, secret) in reader.secrets(part, "headers").unwrap_or_default() {
        match header(&name, secret.expose()) {
            Ok(header) => push.headers.push(header),
            Err(problem) => reader.complain(part.at("headers"), format!("`{table}.headers` {problem}")),
        }
    }
    if let Some(tls) = reader.part(part, "tls") {
        push.tls = read_tls(reader, &tls, table);
    }
}

fn read_tls(reader: &mut FileReader<'_>, part: &Part<'_, '_>, table: &str) -> PushTls {
    let ca = reader.file(part, "ca");
    let certificate = reader.file(part, "certificate");
    let key = reader.file(part, "key");
    if part.has("certificate") != part.has("key") {
        reader.complain(part.at("certificate"), format!("`{table}.tls` must have `certificate` and `key` together"));
    }
    PushTls { ca, client: certificate.zip(key) }
}

/// The compression of this name.
pub fn compression(word: &str) -> Option<Compression> {
    match word {
        "none" => Some(Compression::None),
        "gzip" => Some(Compression::Gzip),
        _ => None,
    }
}

/// A header that may be sent.
///
/// # Errors
/// A sentence that completes "KEY ..."; it does not quote the value.
pub fn header(name: &str, value: &str) -> Result<(String, HeaderValueText), String> {
    let is_sound = name.parse::<HeaderName>().is_ok() && HeaderValue::from_str(value).is_ok();
    if is_sound { Ok((name.to_owned(), HeaderValueText(value.to_owned()))) } else { Err(format!("names \"{name}\", which is no header")) }
}
