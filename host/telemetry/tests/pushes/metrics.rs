//! Metrics that are pushed are those that are scraped.

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric, NumberDataPoint, number_data_point};
use prost::Message;
use watchgate_telemetry::{
    Label, MetricDefinition, MetricKind, MetricName, MetricsPushConfig, NameKind, OtlpProtocol, Telemetry, TelemetryConfig, TracesConfig,
};

use crate::collector::{Collector, Reply};
use crate::everything::{OF_PLUGIN, say_everything};
use crate::exposition::{Exposition, Labels};
use crate::scene::{self, LONG};

/// What rises or changes by itself, also between a scrape and a push.
const RESTLESS: [&str; 5] = [
    "process_",
    "watchgate_uptime_seconds",
    "watchgate_runtime_",
    "watchgate_telemetry_exported_total",
    "watchgate_telemetry_dropped_total",
];

/// The values of one series: one for counters and gauges; for histograms count, sum, and each bucket's bound and count.
type Values = Vec<f64>;
/// By metric and attributes.
type Points = BTreeMap<(String, Labels), Values>;

pub fn metrics(requests: &[ExportMetricsServiceRequest]) -> Vec<Metric> {
    let resources = requests.iter().flat_map(|request| &request.resource_metrics);
    resources.flat_map(|resource| &resource.scope_metrics).flat_map(|scope| &scope.metrics).cloned().collect()
}

fn labels(attributes: &[KeyValue]) -> Labels {
    let text = |attribute: &KeyValue| match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
        Value::StringValue(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute))).collect()
}

fn number(point: &NumberDataPoint) -> f64 {
    match point.value {
        Some(number_data_point::Value::AsDouble(number)) => number,
        other => panic!("{other:?}"),
    }
}

fn pushed(requests: &[ExportMetricsServiceRequest]) -> Points {
    let mut points = Points::new();
    for metric in metrics(requests) {
        let mut put = |attributes: &[KeyValue], start: u64, at: u64, values: Values| {
            assert!(0 < start && start <= at, "{}: {start} {at}", metric.name);
            assert!(points.insert((metric.name.clone(), labels(attributes)), values).is_none(), "{} {attributes:?} twice", metric.name);
        };
        match metric.data.as_ref().unwrap() {
            Data::Gauge(gauge) => gauge
                .data_points
                .iter()
                .for_each(|point| put(&point.attributes, point.start_time_unix_nano, point.time_unix_nano, vec![number(point)])),
            Data::Sum(sum) => {
                assert_eq!((sum.aggregation_temporality, sum.is_monotonic), (AggregationTemporality::Cumulative as i32, true));
                sum.data_points
                    .iter()
                    .for_each(|point| put(&point.attributes, point.start_time_unix_nano, point.time_unix_nano, vec![number(point)]));
            }
            Data::Histogram(histogram) => {
                assert_eq!(histogram.aggregation_temporality, AggregationTemporality::Cumulative as i32);
                for point in &histogram.data_points {
                    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
                    let mut values = vec![point.count as f64, point.sum.unwrap()];
                    let mut total = 0;
                    for (index, count) in point.bucket_counts.iter().enumerate() {
                        total += count;
                        values.extend([point.explicit_bounds.get(index).copied().unwrap_or(f64::INFINITY), total as f64]);
                    }
                    assert_eq!(total, point.count);
                    put(&point.attributes, point.start_time_unix_nano, point.time_unix_nano, values);
                }
            }
            other => panic!("{other:?}"),
        }
    }
    points
}

/// The labels of a scraped series as OTLP has them.
fn renamed(own: Option<&MetricDefinition>, labels: &Labels) -> Labels {
    let name = |label: &str| match own {
        Some(_) => Label::ALL.iter().find(|known| known.as_str() == label).map_or(label, |known| known.otlp_name()).to_owned(),
        None => if label == "plugin" { "watchgate.plugin" } else { label }.to_owned(),
    };
    labels.iter().filter(|(label, value)| *label != "le" && !value.is_empty()).map(|(label, value)| (name(label), value.clone())).collect()
}

fn scraped(text: &str) -> Points {
    let mut points = Points::new();
    for (name, family) in Exposition::read(text).families {
        let own = MetricName::all().find(|row| row.name == name);
        let otlp_name = own.map_or_else(|| name.clone(), |own| own.otlp_name().into_owned());
        let of = |suffix: &str| {
            let sample = format!("{name}{suffix}");
            family.samples.iter().filter(|(found, ..)| *found == sample).collect::<Vec<_>>()
        };
        let is_histogram = family.kind == "histogram";
        for (_, labels, value) in of(if is_histogram { "_count" } else { "" }) {
            points.insert((otlp_name.clone(), renamed(own, labels)), vec![*value]);
        }
        for (_, labels, value) in [of("_sum"), of("_bucket")].concat() {
            let values = points.get_mut(&(otlp_name.clone(), renamed(own, labels))).unwrap();
            values.extend(labels.get("le").map(|bound| bound.parse::<f64>().unwrap()));
            values.push(*value);
        }
    }
    points
}

fn is_restless(name: &str) -> bool {
    let own = MetricName::all().find(|row| row.otlp_name() == name);
    own.is_some_and(|own| RESTLESS.iter().any(|beginning| own.name.starts_with(beginning)))
}

fn next(collector: &Collector) -> ExportMetricsServiceRequest {
    let received = collector.next();
    assert_eq!((received.path.as_str(), &received.headers["content-type"]), ("/v1/metrics", &"application/x-protobuf".parse().unwrap()));
    ExportMetricsServiceRequest::decode(received.body.as_slice()).unwrap()
}

/// Holds what is pushed against what is scraped.
pub fn check_equal(telemetry: &Telemetry, requests: &[ExportMetricsServiceRequest]) {
    let (mut pushed, mut scraped) = (pushed(requests), scraped(&telemetry.render_prometheus()));
    assert_eq!(pushed.keys().collect::<Vec<_>>(), scraped.keys().collect::<Vec<_>>());
    pushed.retain(|(name, _), _| !is_restless(name));
    scraped.retain(|(name, _), _| !is_restless(name));
    for (key, values) in &scraped {
        assert_eq!(&pushed[key], values, "{key:?}");
    }
    assert!(scraped.len() > 1000);
}

#[test]
fn what_is_pushed_is_what_is_scraped() {
    let collector = Collector::start([]);
    let telemetry = scene::metrics_to(&collector.url(), OtlpProtocol::Http);
    let _held = say_everything(&telemetry);
    assert!(telemetry.flush_exports(LONG));
    let request = next(&collector);
    let metrics = metrics(std::slice::from_ref(&request));
    for row in MetricName::all() {
        let metric = metrics.iter().find(|metric| metric.name == row.otlp_name()).unwrap_or_else(|| panic!("{} is missing", row.name));
        assert_eq!((metric.description.as_str(), metric.unit.as_str()), (row.help, row.unit().as_ucum()), "{}", row.name);
        let kind = match metric.data.as_ref().unwrap() {
            Data::Sum(_) => MetricKind::Counter,
            Data::Gauge(_) => MetricKind::Gauge,
            _ => MetricKind::Histogram,
        };
        assert_eq!(kind, row.kind, "{}", row.name);
    }
    for name in OF_PLUGIN {
        assert!(metrics.iter().any(|metric| metric.name == name), "{name}");
    }
    check_equal(&telemetry, &[request]);
}

#[test]
fn the_resource_is_that_of_the_traces() {
    let collector = Collector::start([]);
    let metrics_push = Some(MetricsPushConfig { push: scene::push(&collector.url()), ..MetricsPushConfig::default() });
    let traces = TracesConfig {
        service_name: "edge".into(),
        resource: vec![("deployment.environment.name".into(), "test".into()), ("service.version".into(), "7".into())],
        ..TracesConfig::default()
    };
    let telemetry = Telemetry::new(TelemetryConfig { metrics_push, traces, ..TelemetryConfig::default() }).unwrap();
    assert!(telemetry.flush_exports(LONG));
    let request = next(&collector);
    let said = labels(&request.resource_metrics[0].resource.as_ref().unwrap().attributes);
    for (name, value) in [("service.name", "edge"), ("deployment.environment.name", "test"), ("service.version", "7")] {
        assert_eq!(said[name], value);
    }
}

#[test]
fn a_series_that_starts_anew_says_so() {
    let collector = Collector::start([]);
    let telemetry = scene::metrics_to(&collector.url(), OtlpProtocol::Http);
    let start = || {
        telemetry.emit(scene::tool_call(&telemetry.server("weather"), "echo"));
        assert!(telemetry.flush_exports(LONG));
        let metrics = metrics(&[next(&collector)]);
        let calls = metrics.iter().find(|metric| metric.name == "watchgate.mcp_tool_calls").unwrap();
        let Some(Data::Sum(sum)) = &calls.data else { panic!("{calls:?}") };
        (sum.data_points[0].start_time_unix_nano, number(&sum.data_points[0]))
    };
    let (first, one) = start();
    let (second, two) = start();
    assert_eq!((first, one, two), (second, 1.0, 2.0));
    telemetry.retire_server("weather");
    let (third, again) = start();
    assert!(third > first && again == 1.0, "{first} {third} {again}");
}

#[test]
fn many_series_are_many_requests() {
    let collector = Collector::start([]);
    let telemetry = scene::metrics_to(&collector.url(), OtlpProtocol::Http);
    let server = telemetry.server("weather");
    for tool in 0..500 {
        let name = format!("tool-{tool}");
        server.learn(NameKind::Tool, &name);
        for outcome in ["ok", "tool_error", "timeout"] {
            telemetry.emit(watchgate_telemetry::OperationFinished { outcome, ..scene::tool_call(&server, &name) });
        }
    }
    assert!(telemetry.flush_exports(LONG));
    let mut requests = Vec::new();
    while pushed(&requests).len() == requests.len() * 2000 {
        requests.push(next(&collector));
    }
    assert!(requests.len() >= 3);
    check_equal(&telemetry, &requests);
}

#[test]
fn metrics_go_out_by_themselves_and_a_failure_costs_one_push() {
    let collector = Collector::start([Reply::Answer(400, "text/plain", b"no".to_vec())]);
    let metrics_push =
        Some(MetricsPushConfig { push: scene::push(&collector.url()), interval: Duration::from_millis(5), ..MetricsPushConfig::default() });
    let telemetry = Telemetry::new(TelemetryConfig { metrics_push, ..TelemetryConfig::default() }).unwrap();
    let mut refused = 0.0;
    for _ in 0..3 {
        let metrics = metrics(&[next(&collector)]);
        let dropped = metrics.iter().find(|metric| metric.name == "watchgate.telemetry_dropped").unwrap();
        let Some(Data::Sum(sum)) = &dropped.data else { panic!("{dropped:?}") };
        let of = |point: &&NumberDataPoint| {
            let labels = labels(&point.attributes);
            labels["signal"] == "metrics" && labels["reason"] == "refused"
        };
        refused = number(sum.data_points.iter().find(of).unwrap());
    }
    assert_eq!(refused, 1.0);
    assert!(telemetry.shutdown(LONG));
    assert_eq!(scene::dropped(&telemetry, "metrics", "refused"), 1.0);
}

#[test]
fn a_collector_that_hangs_holds_up_no_shutdown() {
    let collector = Collector::start([Reply::Hang, Reply::Hang]);
    let telemetry = scene::metrics_to(&collector.url(), OtlpProtocol::Http);
    let begun = std::time::Instant::now();
    assert!(!telemetry.shutdown(Duration::from_millis(200)));
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_push_that_cannot_be_set_up_is_an_error_that_says_which() {
    let metrics_push = Some(MetricsPushConfig { push: scene::push("ftp://x"), ..MetricsPushConfig::default() });
    let Err(error) = Telemetry::new(TelemetryConfig { metrics_push, ..TelemetryConfig::default() }) else { panic!("accepted") };
    assert!(error.to_string().starts_with("metrics: "), "{error}");
    let logs_push = scene::logs_push("ftp://x", OtlpProtocol::Http);
    let Err(error) = Telemetry::new(TelemetryConfig { logs_push, ..TelemetryConfig::default() }) else { panic!("accepted") };
    assert!(error.to_string().starts_with("logs: "), "{error}");
}
