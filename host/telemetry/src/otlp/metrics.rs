//! The metric store as OTLP metrics: the names of the conventions, cumulative since each series began to count.

use std::collections::HashMap;
use std::time::SystemTime;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_semantic_conventions::SCHEMA_URL;
use prometheus::proto::{self, LabelPair, MetricType};

use super::{nanoseconds, scope, text};
use crate::family::Gathered;
use crate::names::{Label, MetricDefinition, MetricName, Unit};
use crate::trace::Attribute;

/// Points in one request at most: collectors refuse requests of more than 4 MiB, and a histogram's point has some 300 bytes.
const MOST_POINTS: usize = 2000;
const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

/// Knows the gateway's own metrics by their Prometheus names.
pub(crate) struct MetricsEncoder {
    resource: Resource,
    own: HashMap<&'static str, &'static MetricDefinition>,
}

impl MetricsEncoder {
    pub fn new(resource: Resource) -> Self {
        Self { resource, own: MetricName::all().map(|row| (row.name, row)).collect() }
    }

    /// Everything as of `now`, in as many requests as it takes.
    pub fn requests(&self, gathered: &[Gathered], now: SystemTime) -> Vec<ExportMetricsServiceRequest> {
        let mut requests = Vec::new();
        let (mut metrics, mut points) = (Vec::new(), 0);
        for family in gathered {
            let mut done = 0;
            while done < family.since.len() {
                let room = MOST_POINTS - points;
                let some = done..family.since.len().min(done + room);
                (done, points) = (some.end, points + some.len());
                metrics.push(self.metric(family, some, now));
                if points == MOST_POINTS {
                    requests.push(self.request(std::mem::take(&mut metrics)));
                    points = 0;
                }
            }
        }
        if points > 0 {
            requests.push(self.request(metrics));
        }
        requests
    }

    fn request(&self, metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
        let scope_metrics = vec![ScopeMetrics { scope: Some(scope("watchgate")), metrics, schema_url: SCHEMA_URL.to_owned() }];
        let resource = Some(self.resource.clone());
        let resource_metrics = vec![ResourceMetrics { resource, scope_metrics, schema_url: SCHEMA_URL.to_owned() }];
        ExportMetricsServiceRequest { resource_metrics }
    }

    /// Some of the series of a family.
    fn metric(&self, gathered: &Gathered, some: std::ops::Range<usize>, now: SystemTime) -> Metric {
        let family = &gathered.family;
        let own = self.own.get(family.name()).copied();
        let series = family.get_metric()[some.clone()].iter().zip(&gathered.since[some]);
        let numbers =
            |value: fn(&proto::Metric) -> f64| series.clone().map(move |(series, since)| number(own, series, value(series), *since, now));
        let data = match family.get_field_type() {
            MetricType::COUNTER => Data::Sum(Sum {
                data_points: numbers(|series| series.get_counter().get_value()).collect(),
                aggregation_temporality: CUMULATIVE,
                is_monotonic: true,
            }),
            MetricType::HISTOGRAM => Data::Histogram(Histogram {
                data_points: series.map(|(series, since)| histogram(own, series, *since, now)).collect(),
                aggregation_temporality: CUMULATIVE,
            }),
            MetricType::GAUGE | MetricType::SUMMARY | MetricType::UNTYPED => {
                Data::Gauge(Gauge { data_points: numbers(|series| series.get_gauge().get_value()).collect() })
            }
        };
        Metric {
            name: own.map_or_else(|| family.name().to_owned(), |own| own.otlp_name().into_owned()),
            description: family.help().to_owned(),
            unit: Unit::of_name(family.name()).as_ucum().to_owned(),
            data: Some(data),
            ..Metric::default()
        }
    }
}

fn number(own: Option<&MetricDefinition>, series: &proto::Metric, value: f64, since: SystemTime, now: SystemTime) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(own, series.get_label()),
        start_time_unix_nano: nanoseconds(since.min(now)),
        time_unix_nano: nanoseconds(now),
        value: Some(Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

fn histogram(own: Option<&MetricDefinition>, series: &proto::Metric, since: SystemTime, now: SystemTime) -> HistogramDataPoint {
    let histogram = series.get_histogram();
    let count = histogram.get_sample_count();
    let mut before = 0;
    // Ours are cumulative, OTLP's are not; the last one has no bound.
    let mut bucket_counts: Vec<u64> = Vec::with_capacity(histogram.get_bucket().len() + 1);
    for bucket in histogram.get_bucket() {
        bucket_counts.push(bucket.cumulative_count().saturating_sub(before));
        before = bucket.cumulative_count();
    }
    bucket_counts.push(count.saturating_sub(before));
    HistogramDataPoint {
        attributes: attributes(own, series.get_label()),
        start_time_unix_nano: nanoseconds(since.min(now)),
        time_unix_nano: nanoseconds(now),
        count,
        sum: Some(histogram.get_sample_sum()),
        bucket_counts,
        explicit_bounds: histogram.get_bucket().iter().map(proto::Bucket::upper_bound).collect(),
        ..HistogramDataPoint::default()
    }
}

/// An empty label says nothing, and the conventions leave out what says nothing.
fn attributes(own: Option<&MetricDefinition>, labels: &[LabelPair]) -> Vec<KeyValue> {
    let name = |label: &str| -> Option<&'static str> {
        match own {
            Some(own) => own.labels.iter().copied().find(|known| known.as_str() == label).map(Label::otlp_name),
            // Added to what plugins declare; they cannot have one of that name themselves.
            None => (label == Label::Plugin.as_str()).then_some(Attribute::Plugin.as_str()),
        }
    };
    let said = labels.iter().filter(|label| !label.value().is_empty());
    said.map(|label| text(name(label.name()).unwrap_or(label.name()), label.value())).collect()
}
