//! How it ends: what is queued gets out, within a deadline, whatever runtime asks and whatever the collector does.

use std::time::{Duration, Instant};

use watchgate_telemetry::{Exporter, TracesConfig};

use crate::collector::{Collector, Reply};
use crate::grpc_collector::GrpcCollector;
use crate::scene::{LONG, config, emit, exported, lost, ping, telemetry, wait_until};

/// Nothing is exported before it is asked for.
fn patient(exporter: Exporter, url: &str) -> TracesConfig {
    TracesConfig { interval: LONG * 100, ..config(exporter, url) }
}

/// Calls it on the only thread of a runtime, and on one of several.
fn on_each_runtime(work: impl Fn()) {
    let mut current = tokio::runtime::Builder::new_current_thread();
    let mut several = tokio::runtime::Builder::new_multi_thread();
    for builder in [&mut current, several.worker_threads(1)] {
        let runtime = builder.enable_all().build().unwrap();
        runtime.block_on(async { work() });
        runtime.block_on(async { tokio::spawn(async {}).await.unwrap() });
    }
}

#[test]
fn a_shutdown_exports_what_is_queued() {
    on_each_runtime(|| {
        let (http, grpc) = (Collector::start([]), GrpcCollector::start([], None));
        for (exporter, url) in [(Exporter::OtlpHttp, http.url()), (Exporter::OtlpGrpc, grpc.url()), (Exporter::Zipkin, http.url())] {
            let telemetry = telemetry(patient(exporter, &url));
            (0..1000).for_each(|number| emit(&telemetry, ping(number)));
            assert!(telemetry.shutdown(LONG), "{exporter:?}");
            assert_eq!(exported(&telemetry), 1000);
            emit(&telemetry, ping(0));
            wait_until("what comes too late is counted", || lost(&telemetry, "shutdown") == 1);
            assert!(telemetry.shutdown(LONG), "a second time there is nothing to do");
        }
    });
}

#[test]
fn a_shutdown_ends_by_its_deadline_and_counts_what_is_left() {
    on_each_runtime(|| {
        let collector = Collector::start(std::iter::repeat_n(Reply::Hang, 100));
        let telemetry = telemetry(patient(Exporter::OtlpHttp, &collector.url()));
        (0..10).for_each(|number| emit(&telemetry, ping(number)));
        let began = Instant::now();
        assert!(!telemetry.shutdown(Duration::from_millis(100)));
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        wait_until("they are counted", || lost(&telemetry, "shutdown") == 10);
    });
}

#[test]
fn a_shutdown_does_not_wait_for_a_collector_that_is_away() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let telemetry = telemetry(patient(Exporter::OtlpGrpc, &format!("http://{address}")));
    (0..10).for_each(|number| emit(&telemetry, ping(number)));
    let began = Instant::now();
    assert!(!telemetry.shutdown(LONG));
    assert!(began.elapsed() < LONG / 3);
    assert_eq!(lost(&telemetry, "shutdown"), 10);
}

/// The collector's thread is the one that waits: it cannot answer, and nothing is blocked for longer than the deadline.
#[test]
fn a_collector_on_the_same_thread_makes_no_deadlock() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let telemetry = telemetry(patient(Exporter::OtlpHttp, &format!("http://{}", listener.local_addr().unwrap())));
        let accepting = tokio::spawn(async move { listener.accept().await.map(drop) });
        emit(&telemetry, ping(0));
        assert!(!telemetry.shutdown(Duration::from_millis(100)));
        accepting.await.unwrap().unwrap();
    });
}

#[test]
fn without_an_exporter_there_is_nothing_to_wait_for() {
    let telemetry = telemetry(TracesConfig::default());
    emit(&telemetry, ping(0));
    assert!(telemetry.shutdown(Duration::ZERO));
    assert_eq!(telemetry.recent_traces(&watchgate_telemetry::TraceFilter::default()).len(), 1);
}
