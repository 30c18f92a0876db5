//! What belongs to one server.

use std::time::Duration;

use super::{DEADLINE, MANY, SPAN};
use crate::form::Form;
use crate::section::Absent::{Is, Required, Said};
use crate::section::{Key, Section, Shape};

const FROM_PROXY: crate::section::Absent = Said("as in `[proxy]`");

pub(super) const SERVER: Section = Section {
    prefix: "servers.NAME.",
    shape: Shape::Named,
    meaning: "One MCP server. `NAME` is its name in paths, metrics and logs: letters, digits, `-`, `_`, `.`.",
    keys: &[
        Key::new("url", Form::Text("`http` or `https` URL"), Said("`url` or `urls` must be set"), "where it is"),
        Key::new(
            "urls",
            Form::Texts("URLs"),
            Said("none"),
            "in place of `url`: endpoints that are the same to clients; their paths are equal",
        ),
        Key::new(
            "mount",
            Form::OneOf(&["prefix", "root"]),
            Is("\"prefix\""),
            "`prefix`: paths below `/NAME/`; `root`: every path that no other server has",
        ),
        Key::new(
            "hosts",
            Form::Texts("host names without port"),
            Said("none"),
            "in place of `mount`: requests for these hosts, with their path kept",
        ),
        Key::new("http2", Form::Flag, Is("false"), "whether HTTP/2 is spoken to it: by ALPN with TLS, by prior knowledge without"),
        Key::new(
            "host",
            Form::Text("`\"auto\"`, `\"preserve\"`, `\"upstream\"`, or a `HOST[:PORT]`"),
            Is("\"auto\""),
            "which `Host` it is sent: the client's, the endpoint's, or this one; `auto` is the client's in cleartext and the endpoint's over TLS",
        ),
        Key::new(
            "forwarded",
            Form::OneOf(&["off", "x-forwarded", "forwarded", "both"]),
            Is("\"off\""),
            "whether it is told the client's address, scheme and host, and in which headers",
        ),
        Key::new(
            "public_url",
            Form::Text("`http` or `https` URL"),
            Said("none"),
            "under which clients know it; with it `resource` and `resource_metadata` of OAuth are rewritten",
        ),
        Key::new(
            "probe",
            Form::Flag,
            FROM_PROXY,
            "whether the gateway looks by itself whether the server and its endpoints are up, as in `[proxy]`",
        ),
        Key::new("connect_timeout", DEADLINE, FROM_PROXY, "opening a connection, TLS included"),
        Key::new("head_timeout", DEADLINE, FROM_PROXY, "from sending a request to the head of its answer"),
        Key::new("idle_timeout", DEADLINE, FROM_PROXY, "between two pieces of an answer that is no event stream"),
        Key::new("stream_idle_timeout", DEADLINE, FROM_PROXY, "between two pieces of an event stream"),
        Key::new("pool_idle_timeout", DEADLINE, FROM_PROXY, "how long an unused connection is kept"),
        Key::new("max_request_body", Form::Size(1 << 10, 1 << 30), FROM_PROXY, "the cap on messages, as in `[proxy]`"),
        Key::new("max_idle_connections", Form::Count(0, 1_000_000), FROM_PROXY, "unused connections kept for each endpoint"),
        Key::new(
            "max_concurrency",
            MANY,
            Said("none"),
            "calls at once, until the answer ends, also where it is an event stream; not what is a stream by its nature (a `GET` for events, `subscriptions/listen`); more are answered 503",
        ),
        Key::new("max_streams_per_client", MANY, Said("none"), "event streams at once of one client address; more are answered 429"),
        Key::new("slow_start", SPAN, Is("\"10s\""), "how long a new or returned endpoint takes to get its full share"),
    ],
};

pub(super) const TLS: Section = Section {
    prefix: "servers.NAME.tls.",
    shape: Shape::Optional,
    meaning: "For `https` URLs. The files are read again when they change.",
    keys: &[
        Key::new("ca", Form::File, Said("the system's"), "PEM: authorities to trust in place of the public ones"),
        Key::new("certificate", Form::File, Said("none"), "PEM: the client certificate to show, then its chain"),
        Key::new("key", Form::File, Said("none"), "PEM: its private key"),
        Key::new("server_name", Form::Text("a host name"), Said("the URL's host"), "the name to ask for and to verify"),
    ],
};

pub(super) const RATE: Section = Section {
    prefix: "servers.NAME.rate.",
    shape: Shape::Optional,
    meaning: "A token bucket for each client; requests that find it empty are answered 429.",
    keys: &[
        Key::new("per_second", Form::Above(0.0, 1_000_000.0), Required, "requests a second on average"),
        Key::new("burst", MANY, Said("`per_second`, rounded up"), "requests at once after a rest"),
        Key::new(
            "by",
            Form::Text("`\"address\"`, `\"session\"`, `\"client\"` or `\"header:NAME\"`"),
            Is("\"address\""),
            "what tells clients apart: their address (of IPv6 the first 64 bits), `Mcp-Session-Id`, the name their key is bound to, or a header",
        ),
    ],
};

pub(super) const BREAKER: Section = Section {
    prefix: "servers.NAME.breaker.",
    shape: Shape::Table,
    meaning: "When an endpoint is left alone: while its breaker is open requests get 503 at once, or go to another endpoint.",
    keys: &[
        Key::new("enabled", Form::Flag, Is("true"), "off keeps it closed whatever happens; it can still be opened by hand"),
        Key::new("error_share", Form::Above(0.0, 1.0), Is("0.5"), "opens when at least this share of the exchanges in `window` failed"),
        Key::new("min_requests", MANY, Is("20"), "but not before so many exchanges were seen in `window`"),
        Key::new("window", Form::Duration(Duration::from_secs(1), Duration::from_secs(600)), Is("\"10s\""), "what is looked back on"),
        Key::new("connect_failures", MANY, Is("5"), "opens also after so many failed connects in a row"),
        Key::new("open", DEADLINE, Is("\"5s\""), "until one trial exchange is let through; doubles up to ten times that while trials fail"),
    ],
};

pub(super) const EJECTION: Section = Section {
    prefix: "servers.NAME.ejection.",
    shape: Shape::Table,
    meaning: "When one of several endpoints is passed over.",
    keys: &[
        Key::new("consecutive_failures", MANY, Is("5"), "failures in a row after which it is"),
        Key::new("base", DEADLINE, Is("\"10s\""), "for how long the first time; each further time adds the same again, up to ten times"),
        Key::new("max_share", Form::Share, Is("0.5"), "of a server's endpoints at once; at least one always stays"),
    ],
};

pub(super) const RETRY: Section = Section {
    prefix: "servers.NAME.retry.",
    shape: Shape::Table,
    meaning: "How often a request that never left is tried again. One that a server may have seen never is.",
    keys: &[
        Key::new(
            "max",
            Form::Count(0, 10),
            Is("4"),
            "tries beyond the first: on other endpoints at once; when all were tried, or there is no other, after a wait",
        ),
        Key::new(
            "backoff",
            SPAN,
            Is("\"50ms\""),
            "the first such wait, more or less; each further one is twice as long, up to a second, and all end within `connect_timeout`. With `0s` no endpoint is asked twice",
        ),
        Key::new("budget", Form::Share, Is("0.2"), "retries that go elsewhere at once, in relation to requests, over the last ten seconds"),
        Key::new("min_per_second", Form::Count(0, 10_000), Is("10"), "of them so many a second are allowed whatever the budget says"),
    ],
};
