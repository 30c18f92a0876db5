//! What belongs to the process and to client connections.

use super::{DEADLINE, MANY, SPAN};
use crate::form::Form;
use crate::section::Absent::{Is, Required, Said};
use crate::section::{Key, Section, Shape};

pub(super) const TOP: Section = Section {
    prefix: "",
    shape: Shape::Table,
    meaning: "Every other table stands below these.",
    keys: &[
        Key::new("listen", Form::Address, Is("\"127.0.0.1:8080\""), "client traffic, in cleartext; for more, `[[listeners]]` in its place"),
        Key::new(
            "admin",
            Form::Address,
            Is("\"127.0.0.1:9090\""),
            "operators; another than a loopback address needs `WATCHGATE_ADMIN_TOKEN` in the environment",
        )
        .at_start(),
    ],
};

pub(super) const LISTENERS: Section = Section {
    prefix: "listeners.",
    shape: Shape::List,
    meaning: "One address that takes client traffic.",
    keys: &[
        Key::new("address", Form::Address, Required, "where it listens; listeners are told apart by it"),
        Key::new("http2", Form::Flag, Is("true"), "whether HTTP/2 is spoken beside HTTP/1.1: by ALPN with TLS, by prior knowledge without"),
    ],
};

pub(super) const LISTENER_TLS: Section = Section {
    prefix: "listeners.tls.",
    shape: Shape::Optional,
    meaning: "With it the listener speaks TLS only. The files are read again when they change; new connections get what is in them then.",
    keys: &[
        Key::new("certificate", Form::File, Required, "PEM: the certificate, then its chain"),
        Key::new("key", Form::File, Required, "PEM: its private key"),
        Key::new(
            "client_ca",
            Form::File,
            Said("none"),
            "PEM: authorities of client certificates; clients without one of theirs are not let in",
        ),
    ],
};

pub(super) const PROXY: Section = Section {
    prefix: "proxy.",
    shape: Shape::Table,
    meaning: "For all servers and client connections. What `[servers.NAME]` has too is its default there.",
    keys: &[
        Key::new("connect_timeout", DEADLINE, Is("\"5s\""), "opening a connection to a server, TLS included"),
        Key::new("head_timeout", DEADLINE, Is("\"5m\""), "from sending a request to the head of its answer"),
        Key::new("idle_timeout", DEADLINE, Is("\"5m\""), "between two pieces of an answer that is no event stream"),
        Key::new("stream_idle_timeout", DEADLINE, Is("\"1h\""), "between two pieces of an event stream"),
        Key::new("pool_idle_timeout", DEADLINE, Is("\"90s\""), "how long an unused connection to a server is kept"),
        Key::new(
            "client_head_timeout",
            DEADLINE,
            Is("\"75s\""),
            "between two requests of a client's connection (up to a quarter more), for the head of each, and for the TLS handshake",
        ),
        Key::new("client_body_timeout", DEADLINE, Is("\"5m\""), "between two pieces of a request body"),
        Key::new(
            "drain_delay",
            SPAN,
            Is("\"0s\""),
            "after SIGTERM readiness is red and everything else as before for this long, so that balancers notice",
        ),
        Key::new("drain_timeout", DEADLINE, Is("\"10s\""), "how long running exchanges may take on shutdown"),
        Key::new("pending_timeout", DEADLINE, Is("\"5m\""), "how long an operation is remembered whose answer may come on another stream"),
        Key::new("session_idle_timeout", DEADLINE, Is("\"1h\""), "how long a session without traffic counts as active"),
        Key::new(
            "max_request_body",
            Form::Size(1 << 10, 1 << 30),
            Is("\"16MiB\""),
            "the cap on request bodies, and on answers and events that a redaction policy must see whole, also once they are decoded",
        ),
        Key::new(
            "probe",
            Form::Flag,
            Is("true"),
            "whether the gateway looks by itself whether servers are up. Off, nothing is sent to them but what clients ask, and plugins with a grant for it",
        ),
        Key::new(
            "preserve_header_case",
            Form::Flag,
            Is("false"),
            "whether names of header fields pass over HTTP/1.1 as they were written, for peers that are particular about it, and not in lower case; for connections that are opened from then on",
        ),
        Key::new(
            "max_connections",
            MANY,
            Is("10000"),
            "client connections at once, over all listeners; further ones wait, and idle ones are ended for them. Fewer where the process may not open files enough",
        ),
        Key::new(
            "max_connections_per_client",
            MANY,
            Said("none"),
            "of these, those that come from one address (of IPv6 the first 64 bits), whatever proxies say of it; further ones are closed",
        ),
        Key::new(
            "max_held_bytes",
            Form::Size(1 << 20, 1 << 40),
            Is("\"1GiB\""),
            "bytes of messages over 64 KiB that are held whole at once: requests, and what a redaction policy must see whole; of one client address a quarter of that",
        ),
        Key::new("max_headers", Form::Count(16, 10_000), Is("200"), "header fields of a request"),
        Key::new("max_header_bytes", Form::Size(8 << 10, 16 << 20), Is("\"64KiB\""), "bytes of a request's head"),
        Key::new("max_http2_streams", Form::Count(1, 10_000), Is("200"), "exchanges at once on one HTTP/2 connection"),
        Key::new("max_idle_connections", Form::Count(0, 1_000_000), Is("256"), "unused connections kept for each endpoint"),
        Key::new("max_pending_operations", MANY, Is("10000"), "operations remembered; the oldest end as `aborted`"),
        Key::new("max_sessions", MANY, Is("100000"), "sessions that are followed; the one idle longest is forgotten"),
    ],
};
