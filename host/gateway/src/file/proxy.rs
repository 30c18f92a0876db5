//! `[proxy]` and `[clients]`: what belongs to client connections and to the process, and what servers take over when they say nothing.

use watchgate_proxy::{ClientAddresses, Limits, ServerLimits, ServerTimeouts, Timeouts};

use super::part::{FileReader, Part};

/// What `[proxy]` says.
#[derive(Clone, Debug)]
pub struct ProxySettings {
    /// Deadlines of clients and the process.
    pub timeouts: Timeouts,
    /// Bounds of clients and the process.
    pub limits: Limits,
    /// Deadlines of servers that do not say their own.
    pub server_timeouts: ServerTimeouts,
    /// Bounds of servers that do not say their own.
    pub server_limits: ServerLimits,
    /// Whether servers are probed that do not say it themselves.
    pub probe: bool,
    /// Whether names of header fields keep their case.
    pub preserves_header_case: bool,
}

impl Default for ProxySettings {
    fn default() -> Self {
        Self {
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            server_timeouts: ServerTimeouts::default(),
            server_limits: ServerLimits::default(),
            probe: true,
            preserves_header_case: false,
        }
    }
}

/// Reads `[proxy]`.
pub fn read(reader: &mut FileReader<'_>, top: &Part<'_, '_>) -> ProxySettings {
    let mut settings = ProxySettings::default();
    let Some(part) = reader.part(top, "proxy") else { return settings };
    read_server_timeouts(reader, &part, &mut settings.server_timeouts);
    read_server_limits(reader, &part, &mut settings.server_limits);
    settings.probe = reader.flag(&part, "probe").unwrap_or(settings.probe);
    settings.preserves_header_case = reader.flag(&part, "preserve_header_case").unwrap_or(settings.preserves_header_case);
    let Timeouts { client_head, client_body, drain_delay, drain, pending, session_idle } = &mut settings.timeouts;
    let deadlines = [
        ("client_head_timeout", client_head),
        ("client_body_timeout", client_body),
        ("drain_delay", drain_delay),
        ("drain_timeout", drain),
        ("pending_timeout", pending),
        ("session_idle_timeout", session_idle),
    ];
    for (key, place) in deadlines {
        *place = reader.duration(&part, key).unwrap_or(*place);
    }
    let Limits { connections, connections_per_client, headers, header_bytes, http2_streams, pending_operations, sessions, held_bytes } =
        &mut settings.limits;
    let counts = [
        ("max_connections", connections),
        ("max_headers", headers),
        ("max_pending_operations", pending_operations),
        ("max_sessions", sessions),
    ];
    for (key, place) in counts {
        *place = reader.count(&part, key).map_or(*place, as_size);
    }
    *header_bytes = reader.size(&part, "max_header_bytes").unwrap_or(*header_bytes);
    *held_bytes = reader.size(&part, "max_held_bytes").unwrap_or(*held_bytes);
    *connections_per_client = reader.count(&part, "max_connections_per_client");
    *http2_streams = reader.count(&part, "max_http2_streams").unwrap_or(*http2_streams);
    settings
}

/// Reads the deadlines that `[proxy]` and `[servers.NAME]` both have.
pub fn read_server_timeouts(reader: &mut FileReader<'_>, part: &Part<'_, '_>, timeouts: &mut ServerTimeouts) {
    let ServerTimeouts { connect, head, idle, stream_idle, pool_idle } = timeouts;
    let deadlines = [
        ("connect_timeout", connect),
        ("head_timeout", head),
        ("idle_timeout", idle),
        ("stream_idle_timeout", stream_idle),
        ("pool_idle_timeout", pool_idle),
    ];
    for (key, place) in deadlines {
        *place = reader.duration(part, key).unwrap_or(*place);
    }
}

/// Reads the bounds that `[proxy]` and `[servers.NAME]` both have.
pub fn read_server_limits(reader: &mut FileReader<'_>, part: &Part<'_, '_>, limits: &mut ServerLimits) {
    limits.message = reader.size(part, "max_request_body").unwrap_or(limits.message);
    limits.idle_connections = reader.count(part, "max_idle_connections").map_or(limits.idle_connections, as_size);
}

/// Reads `[clients]`.
pub fn read_clients(reader: &mut FileReader<'_>, top: &Part<'_, '_>) -> ClientAddresses {
    let Some(part) = reader.part(top, "clients") else { return ClientAddresses::default() };
    let trusted_hops = reader.count(&part, "trusted_hops").unwrap_or_default();
    ClientAddresses { trusted_hops: u8::try_from(trusted_hops).expect("the bound of the key fits") }
}

fn as_size(count: u32) -> usize {
    usize::try_from(count).expect("a usize has 32 bits or more")
}
