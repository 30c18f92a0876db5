//! The closed sets that label values are from, by metric. Some of them belong to other rooms, which test that they are told right here.

use crate::families::MetricName;
use crate::names::Label;
use crate::words::{
    AuthResult, CertificateReload, ConfigReload, ConnectionRefusal, EndpointResult, GuardRefusal, InvalidTraceContext, Limit, PushLoss,
    Retry, Word,
};

/// The values that a label of a metric may have, besides the empty one; `None` where they are not a closed set.
///
/// ```
/// use watchgate_telemetry::{Label, MetricName, label_values};
///
/// assert_eq!(label_values(MetricName::TlsReloads, Label::Result).unwrap(), ["replaced", "failed"]);
/// assert_eq!(label_values(MetricName::TlsReloads, Label::Name), None);
/// ```
pub fn label_values(metric: MetricName, label: Label) -> Option<Vec<&'static str>> {
    let sets = SETS.iter().filter(|set| set.label == label && (set.metrics.is_empty() || set.metrics.contains(&metric)));
    let values: Vec<&str> = sets.flat_map(|set| set.values.iter().copied().chain(set.more.iter().copied())).collect();
    (!values.is_empty()).then_some(values)
}

/// Every label that has closed sets, with the metrics that share a set (none for all that have the label) and its values, in the order of the
/// reference.
pub(crate) fn closed_sets() -> impl Iterator<Item = (Label, &'static [MetricName], Vec<&'static str>)> {
    SETS.iter().map(|set| (set.label, set.metrics, set.values.iter().chain(set.more).copied().collect()))
}

/// One closed set.
struct Set {
    label: Label,
    /// Empty for every metric that has the label.
    metrics: &'static [MetricName],
    values: &'static [&'static str],
    more: &'static [&'static str],
}

const fn set(label: Label, metrics: &'static [MetricName], values: &'static [&'static str]) -> Set {
    Set { label, metrics, values, more: &[] }
}

/// What a plugin's record is lost for that is about to be cleared of secrets, in `clearing` of the proxy and the queues of `hooks`; and what
/// the writers of logs and the recent traces say.
const OTHER_LOSSES: &[&str] = &["write_failed", "too_large", "unreadable", "redaction", "not_cleared"];

const SETS: &[Set] = &[
    set(Label::Outcome, &[], &["ok", "tool_error", "rpc_error", "http_error", "denied", "timeout", "unreachable", "cancelled", "aborted"]),
    set(Label::Direction, &[], &["client-to-server", "server-to-client"]),
    set(Label::Initiator, &[], &["client", "server"]),
    set(Label::Kind, &[], &["redaction", "derivation", "health", "alerting"]),
    set(Label::Limit, &[], Limit::WORDS),
    set(Label::State, &[MetricName::CircuitBreakerTransitions], &["closed", "open", "half_open"]),
    set(Label::State, &[MetricName::PluginState], &["live", "live_stale", "refused", "missing", "quarantined"]),
    set(Label::State, &[MetricName::HealthCheckStatus], &["ok", "degraded", "failing", "unknown"]),
    set(Label::Result, &[MetricName::UpstreamConnect], &["ok", "failed"]),
    set(Label::Result, &[MetricName::EndpointRequests], EndpointResult::WORDS),
    set(Label::Result, &[MetricName::UpstreamRetries], Retry::WORDS),
    set(Label::Result, &[MetricName::Auth], AuthResult::WORDS),
    set(Label::Result, &[MetricName::TlsReloads], CertificateReload::WORDS),
    set(Label::Result, &[MetricName::ConfigReloads], ConfigReload::WORDS),
    set(Label::Result, &[MetricName::Reloads, MetricName::ReloadDuration], &["live", "refused", "removed"]),
    set(Label::Result, &[MetricName::AlertNotifications], &["delivered", "failed", "given_up", "superseded", "dropped"]),
    set(Label::Reason, &[MetricName::GuardRefused], GuardRefusal::WORDS),
    set(Label::Reason, &[MetricName::ConnectionsRefused], ConnectionRefusal::WORDS),
    set(
        Label::Reason,
        &[MetricName::PluginFailures],
        &[
            "trap",
            "cpu_timeout",
            "wall_timeout",
            "memory",
            "invalid_output",
            "guest_error",
            "no_capacity",
            "quarantined",
            "start",
            "host_calls",
        ],
    ),
    set(Label::Reason, &[MetricName::PluginOperationsDropped], &["queue_count", "queue_bytes", "closed", "denied"]),
    set(Label::Reason, &[MetricName::PluginValuesDropped], &["negative", "not_finite", "wrong_type", "unknown_metric"]),
    set(
        Label::Reason,
        &[MetricName::Reloads],
        &[
            "unreadable",
            "not-a-file",
            "too-large",
            "bad-name",
            "still-changing",
            "bad-settings",
            "kind-lost",
            "load-timeout",
            "internal",
            "empty",
            "not-wasm",
            "precompiled",
            "core-module",
            "malformed",
            "no-kind",
            "import-not-granted",
            "unknown-import",
            "wit-version",
            "kind-shape",
            "over-limits",
            "compile",
            "bad-grant",
            "start-error",
            "start-trap",
            "start-timeout",
            "no-capacity",
            "trial-failed",
        ],
    ),
    Set { label: Label::Reason, metrics: &[MetricName::TelemetryDropped], values: PushLoss::WORDS, more: OTHER_LOSSES },
    set(Label::Reason, &[MetricName::TraceContextInvalid], InvalidTraceContext::WORDS),
    set(
        Label::Signal,
        &[MetricName::TelemetryDropped],
        &["access_log", "logs", "traces", "trace_fields", "recent_traces", "operation_text", "metrics", "otlp_logs"],
    ),
    set(Label::Signal, &[MetricName::TelemetryExported], &["traces", "metrics", "otlp_logs"]),
];

/// The words that `error_type` has besides `tool_error`, codes and statuses: the reasons of the gateway's own errors, and what an operation ends
/// with that has no answer.
pub const ERROR_WORDS: [&str; 26] = [
    "no_route",
    "request_too_large",
    "too_many_headers",
    "slow_body",
    "broken_body",
    "unreachable",
    "broken_answer",
    "connect_timeout",
    "head_timeout",
    "denied",
    "unsupported",
    "silent_answer",
    "header_mismatch",
    "host_not_allowed",
    "origin_not_allowed",
    "unauthorized",
    "rate_limited",
    "too_many_streams",
    "saturated",
    "no_room",
    "circuit_open",
    "required_plugin_not_live",
    "timeout",
    "cancelled",
    "aborted",
    "rpc_error",
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::words::BreakerState;

    #[test]
    fn every_set_is_one_of_metrics_that_have_the_label() {
        for (label, metrics, values) in closed_sets() {
            assert!(metrics.iter().all(|metric| metric.definition().labels.contains(&label)), "{label:?} of {metrics:?}");
            assert_eq!(values.iter().collect::<HashSet<_>>().len(), values.len(), "{label:?} of {metrics:?} says something twice");
        }
    }

    #[test]
    fn the_labels_whose_meaning_is_a_closed_set_have_one_in_every_metric() {
        for row in MetricName::all() {
            for label in [Label::Outcome, Label::Kind, Label::Limit, Label::State, Label::Result, Label::Reason, Label::Signal] {
                assert!(!row.labels.contains(&label) || label_values(row.id, label).is_some(), "{}: {label:?}", row.name);
            }
        }
        let states = label_values(MetricName::CircuitBreakerTransitions, Label::State).unwrap();
        assert_eq!(states, BreakerState::ALL.iter().map(|state| state.as_str()).collect::<Vec<_>>());
        let errors: HashSet<_> = ERROR_WORDS.into_iter().collect();
        assert_eq!(errors.len(), ERROR_WORDS.len());
    }
}
