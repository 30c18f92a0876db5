//! Who may ask, and how clients are known.

use std::time::Duration;

use super::TEXT;
use crate::form::Form;
use crate::section::Absent::{Is, Required, Said};
use crate::section::{Key, Section, Shape};

pub(super) const CLIENTS: Section = Section {
    prefix: "clients.",
    shape: Shape::Table,
    meaning: "How the address of a client is known.",
    keys: &[Key::new(
        "trusted_hops",
        Form::Count(0, 16),
        Is("0"),
        "proxies in front of the gateway that append to `X-Forwarded-For` or `Forwarded`; with 0 only the connection's own address counts",
    )],
};

pub(super) const GUARD: Section = Section {
    prefix: "guard.",
    shape: Shape::Table,
    meaning: "The defence against DNS rebinding. Hosts of `hosts` and `public_url` of the servers are always added to the defaults.",
    keys: &[
        Key::new(
            "hosts",
            Form::Texts("host names without port; `*.` stands for one label or more, `*` alone for every host"),
            Said("`localhost`, `127.0.0.1` and `[::1]` if every listener is on loopback, else every host"),
            "values of `Host` that are let in",
        ),
        Key::new(
            "origins",
            Form::Texts("origins such as `https://app.example.com`; without a port every port, `*` alone for every origin"),
            Said("pages of this machine if every listener is on loopback, else none"),
            "values of `Origin` that are let in beside the origin of the requested host itself; requests without `Origin` always are",
        ),
    ],
};

pub(super) const AUTH: Section = Section {
    prefix: "auth.",
    shape: Shape::Optional,
    meaning: "With this table the gateway lets in only clients that it knows, by `Authorization: Bearer`; without it that is left to the servers.",
    keys: &[
        Key::new(
            "keys_file",
            Form::File,
            Said("none"),
            "lines `NAME:KEY`, at least one; `#` begins a comment. Keys have at least 16 characters. Read again when it changes",
        ),
        Key::new("pass_authorization", Form::Flag, Is("false"), "whether `Authorization` goes on to the server"),
    ],
};

pub(super) const AUTH_KEYS: Section = Section {
    prefix: "auth.keys.",
    shape: Shape::List,
    meaning: "One bearer key.",
    keys: &[
        Key::new("name", TEXT, Required, "what its bearer is called in logs and metrics"),
        Key::new("key", Form::Secret, Required, "the key, at least 16 characters"),
    ],
};

pub(super) const AUTH_JWT: Section = Section {
    prefix: "auth.jwt.",
    shape: Shape::Optional,
    meaning: "JSON Web Tokens that are accepted beside the keys.",
    keys: &[
        Key::new(
            "jwks_file",
            Form::File,
            Said("`jwks_file` or `jwks_url` must be set"),
            "the keys that sign them, at least one; part of the configuration, so read again when it changes",
        ),
        Key::new("jwks_url", Form::Text("`http` or `https` URL"), Said("none"), "where these keys are fetched"),
        Key::new("issuers", Form::Texts("texts"), Required, "accepted values of `iss`"),
        Key::new("audiences", Form::Texts("texts"), Required, "accepted values of `aud`"),
        Key::new(
            "authorization_servers",
            Form::Texts("`http` or `https` URLs"),
            Said("the `issuers` that are URLs; with `pass_authorization` none"),
            "who gives clients their tokens. With these and a server's `public_url` the gateway answers for its protected-resource metadata; without, the server does",
        ),
        Key::new("name_claim", TEXT, Is("\"sub\""), "the claim that names the client in logs and metrics, behind `jwt:`"),
        Key::new("leeway", Form::Duration(Duration::ZERO, Duration::from_secs(600)), Is("\"30s\""), "tolerance for clocks that differ"),
        Key::new(
            "refresh",
            Form::Duration(Duration::from_secs(1), Duration::from_secs(86_400)),
            Is("\"5m\""),
            "how often the keys are fetched from `jwks_url`",
        ),
    ],
};
