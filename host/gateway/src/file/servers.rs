//! `[servers.NAME]`: one MCP server.

use std::net::Ipv4Addr;
use std::ops::Range;

use http::HeaderValue;
use http::uri::Authority;
use watchgate_proxy::{ClientIdentity, EndpointConfig, Forwarded, HostHeader, Mount, ServerConfig, UpstreamTls};

use super::part::{FileReader, Part};
use super::proxy::{self, ProxySettings};
use super::resilience;
use crate::server_url;

/// A server may have this many endpoints; more is a mistake.
const MAX_ENDPOINTS: usize = 256;

/// Reads every server, in the order of the file.
pub fn read(reader: &mut FileReader<'_>, top: &Part<'_, '_>, defaults: &ProxySettings) -> Vec<ServerConfig> {
    let mut servers: Vec<ServerConfig> = Vec::new();
    for (name, part) in reader.named(top, "servers") {
        let place = name.span();
        let Some(server) = read_server(reader, name.get_ref(), &part, defaults) else { continue };
        check_beside(reader, place, &server, &servers);
        servers.push(server);
    }
    servers
}

fn read_server(reader: &mut FileReader<'_>, name: &str, part: &Part<'_, '_>, defaults: &ProxySettings) -> Option<ServerConfig> {
    // Everything is read even where the URL is wrong, so that all mistakes are named.
    let mount = read_mount(reader, part);
    let server = read_endpoints(reader, name, part, mount);
    let is_sound = server.is_some();
    let mut server =
        server.unwrap_or_else(|| ServerConfig::new(name, EndpointConfig::http(Ipv4Addr::LOCALHOST.into(), 80), "", Mount::Root));
    server.timeouts = defaults.server_timeouts.clone();
    server.limits = defaults.server_limits.clone();
    proxy::read_server_timeouts(reader, part, &mut server.timeouts);
    proxy::read_server_limits(reader, part, &mut server.limits);
    resilience::read(reader, part, &mut server);
    server.http2 = reader.flag(part, "http2").unwrap_or_default();
    server.probe = reader.flag(part, "probe").unwrap_or(defaults.probe);
    server.host = reader.parsed(part, "host", host_header).unwrap_or_default();
    server.forwarded = reader.one_of(part, "forwarded").map(|word| forwarded(&word)).unwrap_or_default();
    server.public_url = reader.parsed(part, "public_url", server_url::public);
    let has_tls = server.endpoints.iter().any(|endpoint| endpoint.tls);
    if let Some(tls) = reader.part(part, "tls") {
        server.tls = read_tls(reader, &tls);
        if is_sound && !has_tls {
            reader.complain(part.at("tls"), format!("{} is for https URLs, and this server has none", part.path("tls")));
        }
    }
    is_sound.then_some(server)
}

fn read_mount(reader: &mut FileReader<'_>, part: &Part<'_, '_>) -> Mount {
    let mount = reader.one_of(part, "mount");
    let hosts = reader.texts(part, "hosts");
    if part.has("mount") && part.has("hosts") {
        reader
            .complain(part.at("hosts"), format!("{} and {} exclude each other; keep one of them", part.path("hosts"), part.path("mount")));
    }
    let Some(hosts) = hosts else {
        return if mount.as_deref() == Some("root") { Mount::Root } else { Mount::Prefix };
    };
    if hosts.is_empty() {
        reader.complain(part.at("hosts"), format!("{} must name at least one host", part.path("hosts")));
    }
    for host in hosts.iter().filter(|host| !is_host(host)) {
        reader.complain(part.at("hosts"), format!("{} names \"{host}\", which is no host name without port", part.path("hosts")));
    }
    Mount::Hosts(hosts.iter().map(|host| host.to_ascii_lowercase()).collect())
}

fn read_endpoints(reader: &mut FileReader<'_>, name: &str, part: &Part<'_, '_>, mount: Mount) -> Option<ServerConfig> {
    let url = reader.parsed(part, "url", |url| server_url::parse(name, url, mount.clone()));
    let urls = reader.read(part, "urls", |value| {
        let urls = super::part::texts(value)?;
        let servers: Vec<_> = urls.iter().map(|url| server_url::parse(name, url, mount.clone())).collect::<Result<_, _>>()?;
        join(servers)
    });
    match (part.has("url"), part.has("urls")) {
        (true, true) => {
            reader.complain(part.at("urls"), format!("{} and {} exclude each other; keep one of them", part.path("url"), part.path("urls")))
        }
        (false, false) => reader.complain(part.at("url"), format!("the server `{name}` has no `url`")),
        _ => {}
    }
    url.or(urls)
}

/// One server with the endpoints of all.
fn join(servers: Vec<ServerConfig>) -> Result<ServerConfig, String> {
    let mut servers = servers.into_iter();
    let mut joined = servers.next().ok_or("must name at least one URL")?;
    for server in servers {
        if server.path != joined.path {
            return Err(format!("must all have the same path, not \"{}\" and \"{}\"", joined.path, server.path));
        }
        for endpoint in server.endpoints {
            if joined.endpoints.iter().any(|other| other.authority == endpoint.authority) {
                return Err(format!("names {} twice", endpoint.authority));
            }
            joined.endpoints.push(endpoint);
        }
    }
    if joined.endpoints.len() > MAX_ENDPOINTS { Err(format!("names more than {MAX_ENDPOINTS} endpoints")) } else { Ok(joined) }
}

/// What cannot be beside the servers before it.
fn check_beside(reader: &mut FileReader<'_>, place: Range<usize>, server: &ServerConfig, others: &[ServerConfig]) {
    for other in others {
        match (&server.mount, &other.mount) {
            (Mount::Root, Mount::Root) => reader.complain(
                place.clone(),
                format!("the servers `{}` and `{}` are both mounted at the root; mount one by prefix or by hosts", other.name, server.name),
            ),
            (Mount::Hosts(hosts), Mount::Hosts(theirs)) => {
                for host in hosts.iter().filter(|host| theirs.contains(host)) {
                    reader.complain(place.clone(), format!("the host \"{host}\" belongs to the server `{}` already", other.name));
                }
            }
            _ => {}
        }
    }
}

fn read_tls(reader: &mut FileReader<'_>, part: &Part<'_, '_>) -> UpstreamTls {
    let ca = reader.file(part, "ca");
    let certificate = reader.file(part, "certificate");
    let key = reader.file(part, "key");
    let server_name = reader.parsed(part, "server_name", |name| {
        if is_host(name) { Ok(name.to_owned()) } else { Err(format!("must be a host name, not \"{name}\"")) }
    });
    if part.has("certificate") != part.has("key") {
        reader.complain(part.at("certificate"), format!("{} and {} go together", part.path("certificate"), part.path("key")));
    }
    let client = certificate.zip(key).map(|(certificate, key)| ClientIdentity { certificate, key });
    UpstreamTls { ca, client, server_name }
}

fn host_header(text: &str) -> Result<HostHeader, String> {
    match text {
        "auto" => Ok(HostHeader::Auto),
        "preserve" => Ok(HostHeader::Preserve),
        "upstream" => Ok(HostHeader::Upstream),
        // A word alone is taken for a misspelt mode, unless it is the one host name that has no dot.
        name if (name.contains(['.', ':', '[']) || name == "localhost") && is_authority(name) => Ok(HostHeader::Fixed(name.to_owned())),
        other => Err(format!("must be \"auto\", \"preserve\", \"upstream\" or HOST[:PORT], not \"{other}\"")),
    }
}

fn is_authority(text: &str) -> bool {
    !text.contains('@') && text.parse::<Authority>().is_ok() && HeaderValue::from_str(text).is_ok()
}

fn forwarded(word: &str) -> Forwarded {
    match word {
        "x-forwarded" => Forwarded::XForwarded,
        "forwarded" => Forwarded::Forwarded,
        "both" => Forwarded::Both,
        _ => Forwarded::Off,
    }
}

/// A host name or address without port.
pub fn is_host(text: &str) -> bool {
    let is_name = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    is_name || bare.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
}
