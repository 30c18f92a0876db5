//! The table of core metrics, and the typed families made from it: the one place where a metric is named.

use prometheus::{Counter, Gauge, Histogram, IntCounter, IntGauge};

use crate::buckets::{BucketGroup, HistogramBuckets};
use crate::family::{Family, Gathered};
use crate::names::{Label, MetricDefinition, MetricKind};

macro_rules! leaf {
    (counter) => {
        IntCounter
    };
    (float_counter) => {
        Counter
    };
    (gauge) => {
        IntGauge
    };
    (float_gauge) => {
        Gauge
    };
    (histogram) => {
        Histogram
    };
}

macro_rules! kind {
    (counter) => {
        MetricKind::Counter
    };
    (float_counter) => {
        MetricKind::Counter
    };
    (gauge) => {
        MetricKind::Gauge
    };
    (float_gauge) => {
        MetricKind::Gauge
    };
    (histogram) => {
        MetricKind::Histogram
    };
}

macro_rules! buckets {
    () => {
        None
    };
    ($group:ident) => {
        Some(BucketGroup::$group)
    };
}

/// Makes of each row a variant of [`MetricName`], a row of [`TABLE`] and a field of [`Families`].
macro_rules! metrics {
    ($($leaf:ident $(($group:ident))? $id:ident $field:ident $name:literal [$($label:ident),*] $help:literal;)*) => {
        /// A metric of the core.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum MetricName {
            $(#[doc = $help] $id,)*
        }

        /// Every core metric, indexed by [`MetricName`].
        pub(crate) const TABLE: &[MetricDefinition] = &[
            $(MetricDefinition {
                id: MetricName::$id,
                name: $name,
                kind: kind!($leaf),
                help: $help,
                labels: &[$(Label::$label),*],
                buckets: buckets!($($group)?),
            },)*
        ];

        /// One family for each row of the table.
        pub(crate) struct Families {
            $(pub $field: Family<leaf!($leaf)>,)*
        }

        impl Families {
            /// Empty families.
            pub fn new(buckets: &HistogramBuckets) -> Self {
                Self { $($field: Family::core(MetricName::$id.definition(), buckets),)* }
            }

            /// Removes, in every family whose labels begin with `labels`, the series whose values begin with `values`.
            pub fn remove_under(&self, labels: &[Label], values: &[&str]) {
                $(if [$(Label::$label),*].starts_with(labels) {
                    self.$field.remove_under(values);
                })*
            }

            /// Every family that has a series.
            pub fn collect(&self) -> Vec<Gathered> {
                [$(self.$field.collect(),)*].into_iter().flatten().collect()
            }
        }
    };
}

metrics! {
    counter HttpRequests http_requests "watchgate_http_requests_total" [Server, Method, Status, Outcome]
        "HTTP exchanges that ended.";
    histogram(Http) HttpRequestDuration http_request_duration "watchgate_http_request_duration_seconds" [Server, Method]
        "Time from the request's head to the last byte of the answer, in seconds. Event streams count when they end.";
    gauge HttpRequestsInFlight http_requests_in_flight "watchgate_http_requests_in_flight" [Server, Method]
        "HTTP exchanges going on now, open event streams included.";
    histogram(Overhead) Overhead overhead "watchgate_overhead_seconds" [Server]
        "Time an operation spent in the gateway itself, in seconds: from having the request to sending it on, and, where an answer is gathered, from having it to passing it on. Without waiting for the client, the upstream server or plugins, and without what it costs to pass on an answer that is not gathered.";
    histogram(Http) Upstream upstream "watchgate_upstream_seconds" [Server]
        "Time an exchange spent waiting for the upstream server, connecting included, in seconds; not what a client that is slow to take the answer makes both wait. Exchanges that asked it nothing do not count, nor do GET and subscriptions/listen, whose streams last until somebody ends them.";
    histogram(Overhead) Plugins plugins "watchgate_plugins_seconds" [Server]
        "Time an exchange spent waiting for plugins, in seconds. Exchanges that met no plugin do not count.";
    counter ToolCalls tool_calls "watchgate_mcp_tool_calls_total" [Server, Tool, Outcome]
        "Calls of tools (tools/call) that ended.";
    histogram(Operation) ToolCallDuration tool_call_duration "watchgate_mcp_tool_call_duration_seconds" [Server, Tool]
        "Time from the arrival of a tools/call to the last byte of its answer, in seconds.";
    histogram(Bytes) MessageBytes message_bytes "watchgate_mcp_message_bytes" [Server, Direction]
        "Size of JSON-RPC messages as passed on, redaction included, in bytes; of those that were denied or not forwarded as received.";
    histogram(Operation) ServerOperationDuration server_operation_duration "mcp_server_operation_duration_seconds"
        [Server, McpMethodName, GenAiToolName, GenAiPromptName, ErrorType, RpcResponseStatusCode, Outcome, McpProtocolVersion, Initiator]
        "Time from a JSON-RPC request or notification being received to its answer or acknowledgement being sent, in seconds: what the sender sees. By the OpenTelemetry conventions the codes -32700, -32600, -32601, -32602 and -32002 are no error_type here.";
    histogram(Operation) ClientOperationDuration client_operation_duration "mcp_client_operation_duration_seconds"
        [Server, McpMethodName, GenAiToolName, GenAiPromptName, ErrorType, RpcResponseStatusCode, Outcome, McpProtocolVersion]
        "Time spent waiting for the upstream server's answer to a client's request or notification, in seconds: what the upstream costs, without what a slow client makes it wait.";
    gauge ServerUp server_up "watchgate_server_up" [Server]
        "0 when the last probe found every endpoint of the server down, else 1.";
    histogram(Connect) UpstreamConnect upstream_connect "watchgate_upstream_connect_seconds" [Server, Result]
        "Time to open a connection to the server, in seconds; result is ok or failed.";
    gauge EndpointUp endpoint_up "watchgate_endpoint_up" [Server, Endpoint]
        "1 when the endpoint answered the last probe, whatever it said, else 0; of servers with several.";
    counter EndpointRequests endpoint_requests "watchgate_endpoint_requests_total" [Server, Endpoint, Result]
        "Requests sent to the endpoint that ended; result is ok, failed (an answer of a server in trouble, one that broke off, or none in time), connect_failed or abandoned (the client left first).";
    gauge EndpointRequestsInFlight endpoint_requests_in_flight "watchgate_endpoint_requests_in_flight" [Server, Endpoint]
        "Requests that are with the endpoint now, open event streams included.";
    gauge EndpointEjected endpoint_ejected "watchgate_endpoint_ejected" [Server, Endpoint]
        "1 while the endpoint is passed over because it failed, else 0.";
    counter EndpointEjections endpoint_ejections "watchgate_endpoint_ejections_total" [Server, Endpoint]
        "Times that the endpoint began to be passed over.";
    gauge CircuitBreakerState circuit_breaker_state "watchgate_circuit_breaker_state" [Server, Endpoint]
        "The endpoint's circuit breaker: 0 closed (requests pass), 1 open (none does), 2 half-open (one does, on trial).";
    counter CircuitBreakerTransitions circuit_breaker_transitions "watchgate_circuit_breaker_transitions_total" [Server, Endpoint, State]
        "Times that the endpoint's circuit breaker came into the state.";
    counter UpstreamRetries upstream_retries "watchgate_upstream_retries_total" [Server, Result]
        "Requests that never left and were to be tried again; result is sent, or over_budget where too many are.";
    counter Limited limited "watchgate_limited_total" [Server, Limit]
        "Requests and messages refused because they were over a limit.";
    counter RateLimited rate_limited "watchgate_rate_limited_total" [Server]
        "Requests refused because their client sends too many: `watchgate_limited_total` with the limit rate.";
    counter ConcurrencyLimited concurrency_limited "watchgate_concurrency_limited_total" [Server]
        "Requests refused because too many were going on: `watchgate_limited_total` with the limit concurrency.";
    counter StreamsLimited streams_limited "watchgate_streams_limited_total" [Server]
        "Event streams refused because their client had too many: `watchgate_limited_total` with the limit streams.";
    counter Auth auth "watchgate_auth_total" [Server, Result]
        "Verdicts on credentials; result is the gateway's own known, missing, invalid (neither a known key nor a token), or what is wrong with a token (unknown_key, wrong_signature, unsupported_token, missing_claim, wrong_issuer, wrong_audience, not_yet_valid, expired), or the server's upstream_401 or upstream_403.";
    gauge JwksKeys jwks_keys "watchgate_jwks_keys" []
        "Keys that tokens of clients can be verified with; with 0 no token is let in. Only where tokens are configured.";
    float_gauge JwksLastLoad jwks_last_load "watchgate_jwks_last_load_timestamp_seconds" []
        "When these keys were last loaded, or found to be the same, seconds since the Unix epoch; absent before the first time.";
    counter ClientRequests client_requests "watchgate_client_requests_total" [Client]
        "HTTP exchanges that ended, of clients that the gate let in: by the name of their key, or `jwt:` and the name in their token.";
    counter Clients clients "watchgate_clients_total" [ClientInfo, McpProtocolVersion]
        "Times that a client introduced itself by an initialize or server/discover that was answered.";
    counter GuardRefused guard_refused "watchgate_guard_refused_total" [Reason]
        "Requests refused because of the value of their Host or Origin; reason is host or origin.";
    gauge SessionsActive sessions_active "watchgate_sessions_active" [Server]
        "Sessions of protocol revisions before 2026-07-28 that are neither ended nor idle for too long.";
    histogram(Session) SessionDuration session_duration "mcp_server_session_duration_seconds" [Server]
        "Time from a session's initialize to its end, in seconds; for one that was left idle, to its last use.";
    counter ConnectionsRefused connections_refused "watchgate_connections_refused_total" [Reason]
        "Client connections ended before there was an exchange; reason is tls_handshake, slow_head, malformed_head, head_too_large, too_many_of_client, or idle_longest where others waited for a place.";
    gauge TlsCertNotAfter tls_cert_not_after "watchgate_tls_cert_not_after_seconds" [Name]
        "When the certificate in use ends, seconds since the Unix epoch.";
    counter TlsReloads tls_reloads "watchgate_tls_reloads_total" [Name, Result]
        "Times that a certificate had changed and was read again; result is replaced, or failed where the one before stays in use.";
    counter ConfigReloads config_reloads "watchgate_config_reloads_total" [Result]
        "Times that the configuration was read again; result is applied, or refused where the one before stays in force.";
    gauge ConfigLastReloadSuccessful config_last_reload_successful "watchgate_config_last_reload_successful" []
        "1 when the configuration was applied when it was last read, else 0.";
    float_gauge ConfigLastReload config_last_reload "watchgate_config_last_reload_timestamp_seconds" []
        "When the configuration in force was applied, seconds since the Unix epoch.";
    gauge ConnectionsOpen connections_open "watchgate_connections_open" []
        "Client connections open now.";
    gauge ConnectionsLimit connections_limit "watchgate_connections_limit" []
        "Client connections that may be open at once; further ones wait.";
    counter ConnectionsWaited connections_waited "watchgate_connections_waited_total" []
        "Client connections that found as many open as may be, and waited for one to end.";
    gauge HeldBytes held_bytes "watchgate_held_bytes" []
        "Bytes of messages that are held whole in memory now, those of small messages not counted.";
    counter PluginCalls plugin_calls "watchgate_plugin_calls_total" [Plugin, Kind]
        "Calls of a plugin that ended, failed ones included; of redaction plugins for messages and for telemetry that is about to leave.";
    histogram(Plugin) PluginCallDuration plugin_call_duration "watchgate_plugin_call_duration_seconds" [Plugin, Kind]
        "Time of one plugin call, waiting for an instance included, in seconds.";
    counter PluginFailures plugin_failures "watchgate_plugin_failures_total" [Plugin, Kind, Reason]
        "Plugin calls that gave no answer.";
    counter PluginDenials plugin_denials "watchgate_plugin_denials_total" [Plugin]
        "Messages that the plugin refused; not telemetry that it had left out, which is in `watchgate_telemetry_dropped_total`.";
    gauge PluginMemory plugin_memory "watchgate_plugin_memory_bytes" [Plugin]
        "Linear memory of the plugin, in bytes.";
    gauge PluginGeneration plugin_generation "watchgate_plugin_generation" [Plugin]
        "The live generation, counted from 1; 0 when none is live.";
    gauge PluginState plugin_state "watchgate_plugin_state" [Plugin, State]
        "1 for the state the plugin is in, 0 for the others it has been in; all 0 when the plugin is gone.";
    counter PluginRestarts plugin_restarts "watchgate_plugin_restarts_total" [Plugin]
        "Instances that were thrown away after a failure and replaced.";
    gauge PluginInstances plugin_instances "watchgate_plugin_instances" [Plugin]
        "Instances alive now.";
    counter PluginLogLinesDropped plugin_log_lines_dropped "watchgate_plugin_log_lines_dropped_total" [Plugin]
        "Log lines of the plugin over its allowance.";
    counter PluginOperationsDropped plugin_operations_dropped "watchgate_plugin_operations_dropped_total" [Plugin, Reason]
        "Finished operations that a derivation plugin did not get to see.";
    counter PluginValuesDropped plugin_values_dropped "watchgate_plugin_values_dropped_total" [Plugin, Reason]
        "Values of the plugin's own metrics that were refused: negative, not_finite, wrong_type or unknown_metric.";
    counter PluginSeriesOverflow plugin_series_overflow "watchgate_plugin_series_overflow_total" [Plugin]
        "Values of the plugin's own metrics that went to the labels `_other`, because it had 1000 series.";
    counter Reloads reloads "watchgate_reload_total" [Result, Reason]
        "Ends of the reload pipeline: result is live, refused or removed; reason is the refusal's code.";
    histogram(Reload) ReloadDuration reload_duration "watchgate_reload_duration_seconds" [Result]
        "Time from a plugin file being seen to the end of the pipeline, in seconds.";
    float_gauge ReloadLastSuccess reload_last_success "watchgate_reload_last_success_timestamp_seconds" []
        "When a generation last went live, seconds since the Unix epoch.";
    counter TelemetryDropped telemetry_dropped "watchgate_telemetry_dropped_total" [Signal, Reason]
        "Telemetry that was lost, so that traffic was not.";
    counter TelemetryExported telemetry_exported "watchgate_telemetry_exported_total" [Signal]
        "Records that a collector or console has taken: traces by exchange.";
    counter TraceContextInvalid trace_context_invalid "watchgate_trace_context_invalid_total" [Reason]
        "Values of traceparent, tracestate or baggage from clients that were left out, in headers or in _meta, because they cannot be right or are over a bound.";
    gauge HealthCheckStatus health_check_status "watchgate_health_check_status" [Check, State]
        "1 for the status the check reported last, 0 for the others it has reported.";
    histogram(Connect) HealthCheckDuration health_check_duration "watchgate_health_check_duration_seconds" [Check]
        "Time of one run of the check, in seconds.";
    gauge AlertsFiring alerts_firing "watchgate_alerts_firing" [Severity]
        "Alerts firing now.";
    counter AlertNotifications alert_notifications "watchgate_alert_notifications_total" [Action, Result]
        "Notifications given to alert plugins, each attempt once.";
    histogram(Overhead) RuntimeLag runtime_lag "watchgate_runtime_lag_seconds" []
        "Time from a task being ready to a worker beginning to run it, in seconds, sampled four times a second: what every request waits whenever it must be woken.";
    gauge RuntimeTasks runtime_tasks "watchgate_runtime_tasks" []
        "Tasks of the runtime that have not ended.";
    gauge BuildInfo build_info "watchgate_build_info" [Version]
        "Always 1; the labels tell what is running.";
    float_gauge Uptime uptime "watchgate_uptime_seconds" []
        "Time since the gateway started, in seconds.";
    float_counter ProcessCpu process_cpu "process_cpu_seconds_total" []
        "User and system CPU time of the process, in seconds.";
    gauge ProcessResident process_resident "process_resident_memory_bytes" []
        "Resident memory, in bytes.";
    gauge ProcessVirtual process_virtual "process_virtual_memory_bytes" []
        "Virtual memory, in bytes.";
    gauge ProcessOpenFds process_open_fds "process_open_fds" []
        "Open file descriptors.";
    gauge ProcessMaxFds process_max_fds "process_max_fds" []
        "The soft limit of open file descriptors.";
    float_gauge ProcessStartTime process_start_time "process_start_time_seconds" []
        "When the process started, seconds since the Unix epoch.";
    gauge ProcessThreads process_threads "process_threads" []
        "Threads of the process.";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::TABLE;
    use crate::names::{Label, MetricKind};

    #[test]
    fn every_row_stands_at_its_own_index_under_a_name_of_its_own() {
        let mut names = HashSet::new();
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.id as usize, index);
            assert!(names.insert(row.name), "{} stands twice", row.name);
            assert!(row.help.ends_with('.'), "{}: help is a sentence", row.name);
            assert_eq!(row.kind == MetricKind::Counter, row.name.ends_with("_total"), "{}", row.name);
            assert_eq!(row.kind == MetricKind::Histogram, row.buckets.is_some(), "{}", row.name);
            let labels: HashSet<_> = row.labels.iter().collect();
            assert_eq!(labels.len(), row.labels.len(), "{}", row.name);
            for owner in [Label::Server, Label::Check, Label::Name, Label::ClientInfo] {
                let place = row.labels.iter().position(|label| *label == owner);
                assert!(matches!(place, None | Some(0)), "{}: the owner stands first, so that its series can be removed", row.name);
            }
            let endpoint = row.labels.iter().position(|label| *label == Label::Endpoint);
            assert!(matches!(endpoint, None | Some(1)), "{}: an endpoint is one of a server", row.name);
        }
    }
}
