//! Half a minute of `cargo xtask bench soak`: two hundred clients, half of them on streams, and the gateway holds no more at the end than before.

use std::time::Duration;

use watchgate_tests::soak::{Plan, server, walk};
use watchgate_tests::vitals::descriptors;
use watchgate_tests::{Gateway, GatewayOptions, wait_until};

const PLAN: Plan = Plan { clients: 200, warm_up: Duration::from_secs(12), duration: Duration::from_secs(18) };
/// What the allocator may keep more at the end than after the warm-up. A leak of one buffer a stream would be more.
const GROWTH: u64 = 6 << 20;

#[test]
fn two_hundred_clients_leave_nothing_behind() {
    let server = server();
    let config = "[proxy]\npool_idle_timeout = \"500ms\"\n[health]\nprobe_interval = \"1h\"\n";
    let gateway = Gateway::start(&["--upstream", &server.url()], GatewayOptions::config(config));
    let at_first = wait_until("the probe's connection is gone", || (server.open() == 0).then(|| descriptors(gateway.id()).unwrap().len()));
    let report = walk(&gateway, &PLAN);
    let (failures, texts) = report.tally.failures();
    assert_eq!(failures, 0, "{texts:#?}");
    let (calls, streams, events) = (report.tally.calls(), report.tally.streams(), report.tally.events());
    assert!(calls > 2000 && streams > 500 && events > 2000, "{calls} calls, {streams} streams, {events} events");
    let (first, last) = report.first_and_last();
    eprintln!("{calls} calls, {streams} streams, {events} events; {first:?} {last:?}");
    assert!(last.resident < first.resident + GROWTH, "memory grew from {} to {} bytes", first.resident, last.resident);
    assert!(last.descriptors < first.descriptors + first.descriptors / 4, "descriptors grew: {first:?} {last:?}");
    wait_until("connections and exchanges are gone", || {
        let metrics = gateway.metrics();
        let held = metrics.metric("watchgate_connections_open", &[]) + metrics.metric("watchgate_http_requests_in_flight", &[]);
        (held == 0.0 && server.open() == 0).then_some(())
    });
    wait_until("descriptors are as at first", || (descriptors(gateway.id()).unwrap().len() <= at_first).then_some(()));
    assert!(!gateway.stderr().contains("panicked"), "{}", gateway.stderr());
}
