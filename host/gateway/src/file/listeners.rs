//! `listen` and `[[listeners]]`: where client traffic comes in.

use watchgate_proxy::{ListenerConfig, ServerTls};

use super::check_address;
use super::part::{FileReader, Part};

/// The listeners of the file; `None` when it names none.
pub fn read(reader: &mut FileReader<'_>, top: &Part<'_, '_>) -> Option<Vec<ListenerConfig>> {
    let single = reader.parsed(top, "listen", |text| check_address(text).map(|()| text.to_owned()));
    let parts = reader.list(top, "listeners");
    if top.has("listen") && !parts.is_empty() {
        reader.complain(top.at("listen"), "`listen` and `[[listeners]]` exclude each other; keep one of them");
    }
    if parts.is_empty() {
        return single.map(|address| vec![cleartext(address)]);
    }
    let mut listeners: Vec<ListenerConfig> = Vec::new();
    for part in &parts {
        let address = reader.parsed(part, "address", |text| check_address(text).map(|()| text.to_owned()));
        let http2 = reader.flag(part, "http2").unwrap_or(true);
        let tls_part = reader.part(part, "tls");
        let tls = tls_part.as_ref().and_then(|part| read_tls(reader, part));
        let Some(address) = address else { continue };
        if listeners.iter().any(|other| other.address == address) {
            reader.complain(part.at("address"), format!("`listeners.address`: {address} is there twice"));
        }
        listeners.push(ListenerConfig { address, tls, http2 });
    }
    Some(listeners)
}

/// A listener without TLS.
pub fn cleartext(address: String) -> ListenerConfig {
    ListenerConfig { address, tls: None, http2: true }
}

fn read_tls(reader: &mut FileReader<'_>, part: &Part<'_, '_>) -> Option<ServerTls> {
    let certificate = reader.file(part, "certificate");
    let key = reader.file(part, "key");
    let client_ca = reader.file(part, "client_ca");
    Some(ServerTls { certificate: certificate?, key: key?, client_ca })
}
