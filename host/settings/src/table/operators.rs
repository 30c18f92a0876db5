//! Plugins, health and alerts.

use super::{DEADLINE, SPAN, TEXT};
use crate::form::Form;
use crate::section::Absent::{Is, Required, Said};
use crate::section::{Key, Section, Shape};

pub(super) const PLUGINS: Section = Section {
    prefix: "plugins.",
    shape: Shape::Table,
    meaning: "The plugins themselves and their settings are read again whenever they change.",
    keys: &[
        Key::new("folder", Form::Folder, Said("`plugins` in the working folder, if it exists"), "its top level is watched").at_start(),
        Key::new(
            "required",
            Form::Texts("plugin names"),
            Said("none"),
            "plugins without which every request gets 503 and readiness is red",
        )
        .at_start(),
        Key::new(
            "cache",
            Form::Text("a folder, or `off`"),
            Said("`$XDG_CACHE_HOME/watchgate` or `~/.cache/watchgate`, if it can be made"),
            "for compiled plugins; who may write there controls the gateway",
        )
        .at_start(),
    ],
};

pub(super) const HEALTH: Section = Section {
    prefix: "health.",
    shape: Shape::Table,
    meaning: "How servers are probed that have not switched it off (`probe`).",
    keys: &[
        Key::new("probe_interval", DEADLINE, Is("\"10s\""), "between two probes of a server"),
        Key::new("probe_timeout", DEADLINE, Is("\"2s\""), "for each of a probe's two steps"),
        Key::new(
            "ready_requires_upstreams",
            Form::Flag,
            Is("false"),
            "whether a server that a probe found down makes the whole gateway not ready, and at the start one that was not probed yet",
        ),
    ],
};

pub(super) const ALERTS: Section = Section {
    prefix: "alerts.",
    shape: Shape::Table,
    meaning: "When the rules are evaluated.",
    keys: &[
        Key::new("evaluation_interval", DEADLINE, Is("\"15s\""), "between two evaluations"),
        Key::new("repeat_interval", DEADLINE, Is("\"4h\""), "after which an alert that still fires is said again"),
    ],
};

pub(super) const ALERT_RULE: Section = Section {
    prefix: "alerts.rule.",
    shape: Shape::List,
    meaning: "One condition on the metrics of `/metrics`.",
    keys: &[
        Key::new("name", TEXT, Required, "unique among the rules"),
        Key::new("metric", TEXT, Required, "a metric's name, for a histogram its `_count` or `_sum`"),
        Key::new("labels", Form::Labels, Said("none"), "a series matches when it has these labels with these values"),
        Key::new(
            "rate_over",
            SPAN,
            Said("none"),
            "with it, the increase for each second of all matching counters together over this window (one alert a rule); without, the value of each matching series (one alert a series, at most 100)",
        ),
        Key::new("op", Form::OneOf(&[">", ">=", "<", "<="]), Required, "how the value is compared with the threshold"),
        Key::new("threshold", Form::Number, Required, "with which it is compared"),
        Key::new("for", SPAN, Is("\"0s\""), "how long the condition must hold before it fires"),
        Key::new("severity", TEXT, Is("\"warning\""), "for routing: `a-z`, `0-9`, `_`"),
        Key::new("extra_labels", Form::Labels, Said("none"), "added to the alert's labels"),
        Key::new("summary", TEXT, Is("\"\""), "one sentence for people"),
    ],
};
