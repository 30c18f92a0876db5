//! The contract in `wit/` as Rust: generated traits for what the host offers, and callers for what plugins export.
//!
//! The world below exports every interface only so that callers are generated for each. Its own `Pre` is never used, because it
//! fails when one export is missing; `exports.rs` loads each interface by itself.

#![allow(missing_docs, unused_qualifications, clippy::all, clippy::pedantic)]

wasmtime::component::bindgen!({
    path: "../../wit",
    inline: "
        package watchgate:host@0.1.0;
        world everything {
            include watchgate:plugin/redaction-policy@0.1.0;
            include watchgate:plugin/metric-collection@0.1.0;
            include watchgate:plugin/health-check@0.1.0;
            include watchgate:plugin/alert-action@0.1.0;
        }
    ",
    world: "watchgate:host/everything",
    imports: {
        "watchgate:plugin/mcp-client.request": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "watchgate:plugin/messages.message": crate::host::LentMessage,
        "watchgate:plugin/operations.operation": crate::host::LentOperation,
        "watchgate:plugin/alerts.alert": crate::host::LentAlert,
        "watchgate:plugin/startup.setup": crate::host::LentSetup,
        "watchgate:plugin/metrics.counter": crate::host::CounterHandle,
        "watchgate:plugin/metrics.gauge": crate::host::GaugeHandle,
        "watchgate:plugin/metrics.histogram": crate::host::HistogramHandle,
    },
    require_store_data_send: true,
});
