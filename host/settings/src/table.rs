//! The table of everything the configuration file may hold, in the order of the reference.

mod access;
mod operators;
mod process;
mod servers;
mod telemetry;

use std::time::Duration;

use crate::form::Form;
use crate::section::Section;

/// Every table of the file.
pub const SECTIONS: &[Section] = &[
    process::TOP,
    process::LISTENERS,
    process::LISTENER_TLS,
    servers::SERVER,
    servers::TLS,
    servers::RATE,
    servers::BREAKER,
    servers::EJECTION,
    servers::RETRY,
    process::PROXY,
    access::CLIENTS,
    access::GUARD,
    access::AUTH,
    access::AUTH_KEYS,
    access::AUTH_JWT,
    operators::PLUGINS,
    telemetry::LOGS,
    telemetry::LOGS_OTLP,
    telemetry::LOGS_OTLP_TLS,
    telemetry::METRICS,
    telemetry::METRICS_BUCKETS,
    telemetry::METRICS_OTLP,
    telemetry::METRICS_OTLP_TLS,
    telemetry::TRACES,
    telemetry::TRACES_TLS,
    operators::HEALTH,
    operators::ALERTS,
    operators::ALERT_RULE,
];

/// Longer than any deadline that makes sense.
const DAY: Duration = Duration::from_secs(86_400);
/// A deadline: one of zero would always have passed.
const DEADLINE: Form = Form::Duration(Duration::from_millis(1), DAY);
/// A time that may be none.
const SPAN: Form = Form::Duration(Duration::ZERO, DAY);
/// Things held in memory.
const MANY: Form = Form::Count(1, 1_000_000);
const TEXT: Form = Form::Text("a text");
