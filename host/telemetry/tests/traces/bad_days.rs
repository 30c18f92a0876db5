//! Collectors that are away, slow, broken or something else: traffic does not notice, what is lost is counted, one line says so, and
//! export goes on when they are back.

use std::time::{Duration, Instant};

use tonic::{Code, Status};
use tracing::Level;
use watchgate_telemetry::{Exporter, Telemetry, TracesConfig};

use crate::collector::{Collector, Reply};
use crate::grpc_collector::GrpcCollector;
use crate::logged::{lines, remember};
use crate::scene::{LONG, config, emit, exported, lost, ping, telemetry, wait_until};

/// An address at which nobody listens.
fn closed_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Emits until the collector has taken something, and looks at what was logged on the way.
fn check_recovery(telemetry: &Telemetry, address: &str) {
    let mut number = 1000;
    wait_until("export goes on by itself", || {
        number += 1;
        emit(telemetry, ping(number));
        std::thread::sleep(Duration::from_millis(1));
        exported(telemetry) > 0
    });
    wait_until("it is said", || lines(address).len() >= 2);
    let lines = lines(address);
    let levels: Vec<Level> = lines.iter().map(|(level, _)| *level).collect();
    assert_eq!(levels, [Level::WARN, Level::INFO], "{lines:?}");
}

/// A collector that answers so many times like this: the batches are lost for this reason, if for one; then all is well.
fn check_http(replies: Vec<Reply>, expected: Option<&str>) {
    remember();
    let collector = Collector::start(replies);
    let address = collector.address.to_string();
    let mut config = config(Exporter::OtlpHttp, &collector.url());
    config.push.timeout = Duration::from_millis(300);
    let telemetry = telemetry(config);
    emit(&telemetry, ping(0));
    collector.next();
    if let Some(reason) = expected {
        wait_until(reason, || lost(&telemetry, reason) > 0);
    }
    check_recovery(&telemetry, &address);
    if expected.is_none() {
        for reason in ["unreachable", "timeout", "busy", "refused", "not_a_collector", "rejected"] {
            assert_eq!(lost(&telemetry, reason), 0, "{reason}: the batch is kept until it gets through");
        }
    }
}

#[test]
fn a_collector_that_answers_500_loses_the_batch() {
    check_http(vec![Reply::Answer(500, "text/plain", b"oops".to_vec())], Some("refused"));
    check_http(vec![Reply::Answer(400, "text/plain", b"bad".to_vec()), Reply::Answer(401, "text/plain", Vec::new())], Some("refused"));
}

#[test]
fn a_web_page_is_no_collector() {
    check_http(vec![Reply::Answer(200, "text/html; charset=utf-8", b"<html>Welcome</html>".to_vec())], Some("not_a_collector"));
    check_http(vec![Reply::Answer(200, "text/html", vec![b'x'; 10 << 20])], Some("not_a_collector"));
    check_http(vec![Reply::Answer(404, "text/plain", b"404 page not found".to_vec())], Some("not_a_collector"));
    check_http(vec![Reply::With(301, "location", "/elsewhere")], Some("not_a_collector"));
}

#[test]
fn a_collector_that_is_busy_gets_the_batch_again() {
    check_http(vec![Reply::Answer(503, "text/plain", Vec::new()), Reply::With(429, "retry-after", "0")], None);
}

#[test]
fn one_that_hangs_or_closes_gets_the_batch_again() {
    check_http(vec![Reply::Hang], None);
    check_http(vec![Reply::Close], None);
}

#[test]
fn one_that_comes_up_later_gets_what_the_queue_holds() {
    remember();
    let address = closed_address();
    let telemetry = telemetry(TracesConfig { queue: 10, batch: 5, ..config(Exporter::OtlpHttp, &format!("http://{address}")) });
    (0..100).for_each(|number| emit(&telemetry, ping(number)));
    wait_until("the failure is said", || !lines(&address).is_empty());
    wait_until("the queue is full", || lost(&telemetry, "queue_full") >= 85);
    let kept = 100 - lost(&telemetry, "queue_full");
    let _collector = Collector::start_at(&address, [], None);
    wait_until("everything that was kept arrives", || exported(&telemetry) == kept);
    wait_until("it is said", || lines(&address).len() == 2);
}

#[test]
fn a_grpc_collector_may_refuse_or_be_away() {
    remember();
    for (code, expected) in [
        (Code::InvalidArgument, Some("refused")),
        (Code::Unauthenticated, Some("refused")),
        (Code::ResourceExhausted, Some("refused")),
        (Code::Unimplemented, Some("not_a_collector")),
        (Code::Unavailable, None),
    ] {
        let collector = GrpcCollector::start([Err(Status::new(code, "scripted"))], None);
        let telemetry = telemetry(config(Exporter::OtlpGrpc, &collector.url()));
        emit(&telemetry, ping(0));
        collector.next();
        if let Some(reason) = expected {
            wait_until(reason, || lost(&telemetry, reason) == 1);
        }
        check_recovery(&telemetry, &collector.address.to_string());
    }
}

#[test]
fn grpc_to_an_http_server_is_one_line() {
    remember();
    let collector = Collector::start([]);
    let address = collector.address.to_string();
    let telemetry = telemetry(TracesConfig { queue: 2, batch: 1, ..config(Exporter::OtlpGrpc, &collector.url()) });
    wait_until("the queue is full", || {
        emit(&telemetry, ping(0));
        lost(&telemetry, "queue_full") > 10
    });
    wait_until("the failure is said", || !lines(&address).is_empty());
    assert!(!telemetry.flush_traces(LONG) && !telemetry.flush_traces(LONG));
    assert_eq!(lines(&address).len(), 1, "{:?}", lines(&address));
    assert_eq!(exported(&telemetry), 0);
}

#[test]
fn emitting_costs_the_same_when_the_collector_hangs() {
    let collector = Collector::start(std::iter::repeat_n(Reply::Hang, 1000));
    let telemetry = telemetry(TracesConfig { queue: 100, ..config(Exporter::OtlpHttp, &collector.url()) });
    let began = Instant::now();
    (0..50_000).for_each(|number| emit(&telemetry, ping(number)));
    assert!(began.elapsed() < LONG / 3, "{:?}", began.elapsed());
    assert!(lost(&telemetry, "queue_full") >= 50_000 - 100 - 512);
    assert_eq!(exported(&telemetry), 0);
}
