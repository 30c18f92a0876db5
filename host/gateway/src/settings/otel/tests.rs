//! What the variables come to on top of a file.

use std::path::Path;

use super::*;
use crate::file::{self, FileSettings};

/// What a `[traces]` table and variables come to, with what is said of them and the effective document.
fn applied(table: &str, variables: &[(&str, &str)]) -> (TraceSettings, Vec<String>, Vec<String>, Value) {
    let environment = |wanted: &str| variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned());
    let (mut file, complaints) = file::parse(&format!("[traces]\n{table}\n"), Path::new(""), &environment);
    assert_eq!(complaints, [], "{table}");
    let mut complaints = Vec::new();
    let warnings = super::super::apply_otel(&environment, &mut file, &mut complaints);
    (file.traces, warnings, complaints.iter().map(ToString::to_string).collect(), file.document)
}

#[track_caller]
fn sound(table: &str, variables: &[(&str, &str)]) -> (TraceSettings, Value) {
    let (traces, warnings, complaints, document) = applied(table, variables);
    assert_eq!((warnings, complaints), (Vec::new(), Vec::new()), "{variables:?}");
    (traces, document)
}

const ALL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const OWN: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const CHOSEN: &str = "OTEL_TRACES_EXPORTER";

#[test]
fn where_traces_go() {
    let check = |table: &str, variables: &[(&str, &str)], exporter: Exporter, endpoint: &str| {
        let (traces, document) = sound(table, variables);
        let config = traces.finished(None);
        assert_eq!((config.exporter, config.push.endpoint.as_str()), (exporter, endpoint), "{table} {variables:?}");
        assert_eq!(document["traces"]["exporter"], exporter_word(exporter));
        assert_eq!(document["traces"]["endpoint"].as_str().unwrap_or_default(), endpoint);
        assert_eq!(traces.propagation().headers, exporter != Exporter::None);
    };
    check("", &[], Exporter::None, "");
    check("", &[(ALL, ""), (CHOSEN, " ")], Exporter::None, "");
    check("", &[(ALL, "http://c:4318")], Exporter::OtlpHttp, "http://c:4318/v1/traces");
    check("", &[(ALL, "http://c/base/")], Exporter::OtlpHttp, "http://c/base/v1/traces");
    check("", &[(ALL, "http://c"), (OWN, "http://d/x")], Exporter::OtlpHttp, "http://d/x");
    check("", &[(ALL, "http://c:4317"), (PROTOCOL, "grpc")], Exporter::OtlpGrpc, "http://c:4317");
    check("", &[(PROTOCOL, "grpc")], Exporter::None, "");
    check("", &[(CHOSEN, "otlp")], Exporter::OtlpHttp, "http://localhost:4318");
    check("", &[(CHOSEN, "otlp"), (PROTOCOL, "grpc")], Exporter::OtlpGrpc, "http://localhost:4317");
    check("", &[(CHOSEN, "zipkin"), (ALL, "http://c")], Exporter::Zipkin, "http://localhost:9411");
    check("", &[(CHOSEN, "zipkin"), ("OTEL_EXPORTER_ZIPKIN_ENDPOINT", "http://z/api")], Exporter::Zipkin, "http://z/api");
    check("", &[(CHOSEN, "console")], Exporter::Console, "");
    check("", &[(CHOSEN, "jaeger, otlp,console")], Exporter::OtlpHttp, "http://localhost:4318");
    check("", &[(CHOSEN, "otlp"), ("OTEL_SDK_DISABLED", "TRUE")], Exporter::None, "");
    let grpc = "exporter = \"otlp-grpc\"\nendpoint = \"http://f:1\"";
    check(grpc, &[], Exporter::OtlpGrpc, "http://f:1");
    check(grpc, &[("OTEL_SDK_DISABLED", "false"), (ALL, "http://c:2")], Exporter::OtlpGrpc, "http://c:2");
    check(grpc, &[(PROTOCOL, "http/protobuf"), (ALL, "http://c:2")], Exporter::OtlpHttp, "http://c:2/v1/traces");
    check(grpc, &[(CHOSEN, "none")], Exporter::None, "http://f:1");
    check("exporter = \"none\"", &[(ALL, "http://c")], Exporter::None, "");
    check("exporter = \"zipkin\"", &[(ALL, "http://c")], Exporter::Zipkin, "http://localhost:9411");
}

#[test]
fn how_they_get_there() {
    let variables = [
        (ALL, "https://c"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=ignored"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", " api-key = s%33cret%2C , x-tenant=t=1,"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/c.pem"),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "/k.pem"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "64"),
    ];
    let (traces, document) = sound("timeout = \"1s\"", &variables);
    let push = &traces.config.push;
    let headers: Vec<_> = push.headers.iter().map(|(name, value)| (name.as_str(), value.0.as_str())).collect();
    assert_eq!(headers, [("api-key", "s3cret,"), ("x-tenant", "t=1")]);
    assert_eq!((push.timeout.as_millis(), push.compression), (1500, Compression::Gzip));
    assert_eq!(push.tls.ca, Some(PathBuf::from("/ca.pem")));
    assert_eq!(push.tls.client, Some((PathBuf::from("/c.pem"), PathBuf::from("/k.pem"))));
    assert_eq!((traces.config.interval.as_millis(), traces.config.queue, traces.config.batch), (100, 64, 64));
    assert_eq!(document["traces"]["headers"]["api-key"]["env"], "OTEL_EXPORTER_OTLP_TRACES_HEADERS");
    assert_eq!(document["traces"]["tls"]["ca"], "/ca.pem");
    assert!(!format!("{traces:?}{document}").contains("s3cret"));
}

#[test]
fn which_are_sampled() {
    let check = |sampler: &str, argument: &str, expected: (f64, bool)| {
        let (traces, document) = sound("ratio = 0.3", &[("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)]);
        assert_eq!((traces.config.ratio, traces.config.parent_based), expected, "{sampler}");
        assert_eq!(document["traces"]["ratio"], expected.0);
    };
    check("", "0.5", (0.3, true));
    check("always_on", "", (1.0, false));
    check("always_off", "0.5", (0.0, false));
    check("traceidratio", "0.5", (0.5, false));
    check("traceidratio", "", (1.0, false));
    check("parentbased_always_on", "", (1.0, true));
    check("parentbased_always_off", "", (0.0, true));
    check("parentbased_traceidratio", "0.25", (0.25, true));
}

#[test]
fn who_sends_them() {
    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,service.version=2,team=core%20infra,zone=b");
    let file = "service_name = \"f\"\nresource = { zone = \"a\", rack = \"1\" }";
    let (traces, _) = sound(file, &[attributes]);
    let config = traces.config;
    assert_eq!((&*config.service_name, &*config.service_version), ("a", "2"));
    let resource: Vec<_> = config.resource.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(resource, [("rack", "1"), ("team", "core infra"), ("zone", "b")]);
    let (traces, document) = sound(file, &[attributes, ("OTEL_SERVICE_NAME", "s")]);
    assert_eq!((&*traces.config.service_name, &document["traces"]["service_name"]), ("s", &json!("s")));
}

#[test]
fn what_cannot_be_used_is_said() {
    let check = |name: &str, value: &str, warned: bool| {
        let chosen = if name == CHOSEN { (name, value) } else { (CHOSEN, "otlp") };
        let (traces, warnings, complaints, _) = applied("", &[chosen, ("OTEL_TRACES_SAMPLER", "traceidratio"), (name, value)]);
        let said = if warned { &warnings } else { &complaints };
        assert_eq!(warnings.len() + complaints.len(), 1, "{name}: {warnings:?} {complaints:?}");
        assert!(said.len() == 1 && said[0].contains(name) && !said[0].contains("s3cret"), "{name}: {warnings:?} {complaints:?}");
        traces
    };
    check(CHOSEN, "jaeger", true);
    check("OTEL_SDK_DISABLED", "1", true);
    check(PROTOCOL, "http/json", true);
    check("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", true);
    check("OTEL_EXPORTER_OTLP_TIMEOUT", "0", true);
    check("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", true);
    check("OTEL_TRACES_SAMPLER_ARG", "2", true);
    check("OTEL_BSP_MAX_QUEUE_SIZE", "-1", true);
    assert!(check("OTEL_RESOURCE_ATTRIBUTES", "a=b,c", true).config.resource.is_empty());
    check(ALL, "collector:4317", false);
    check("OTEL_BSP_EXPORT_TIMEOUT", "30s", true);
    check("OTEL_PROPAGATORS", "b3,tracecontext", true);
    check("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "64", true);
    check("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta", true);
    check("OTEL_EXPORTER_OTLP_HEADERS", "s3cret", false);
    check("OTEL_EXPORTER_OTLP_HEADERS", "a=%zz", false);
    check("OTEL_EXPORTER_OTLP_HEADERS", "a b=s3cret", false);
    check("OTEL_EXPORTER_OTLP_HEADERS", "a=s3cret%0A", false);
    check("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/k.pem", false);
    let (_, warnings, ..) = applied("", &[("OTEL_TRACES_SAMPLER", "xray")]);
    assert!(warnings.len() == 1 && warnings[0].contains("sampler"), "{warnings:?}");
}

#[test]
fn what_says_the_usual_is_not_worth_a_word() {
    let usual = [
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Cumulative"),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "always_off"),
        ("OTEL_PROPAGATORS", "tracecontext,baggage"),
        ("OTEL_PYTHON_LOG_CORRELATION", "true"),
    ];
    let (traces, _) = sound("", &usual);
    assert_eq!(traces.propagate, None);
}

#[test]
fn whether_servers_are_told() {
    let check = |words: &str, expected: Option<bool>| {
        let (traces, ..) = applied("propagate = true", &[("OTEL_PROPAGATORS", words)]);
        assert_eq!(traces.propagate, expected, "{words}");
    };
    check("tracecontext", Some(true));
    check("none", Some(false));
    check("baggage", Some(false));
    check("b3", Some(true));
    check(" , ", Some(true));
}

#[test]
fn an_export_takes_no_longer_than_either_variable_says() {
    let check = |request: &str, export: &str, expected: u128| {
        let variables = [(CHOSEN, "otlp"), ("OTEL_EXPORTER_OTLP_TIMEOUT", request), ("OTEL_BSP_EXPORT_TIMEOUT", export)];
        assert_eq!(sound("", &variables).0.config.push.timeout.as_millis(), expected, "{request} {export}");
    };
    check("", "", 10_000);
    check("", "30000", 10_000);
    check("2000", "1500", 1500);
    check("1000", "1500", 1000);
}

#[test]
fn grpc_takes_an_endpoint_without_a_scheme() {
    let check = |variables: &[(&str, &str)], expected: &str| {
        let all: Vec<_> = [(CHOSEN, "otlp"), (PROTOCOL, "grpc")].iter().chain(variables).copied().collect();
        assert_eq!(sound("", &all).0.finished(None).push.endpoint, expected, "{variables:?}");
    };
    check(&[(ALL, "collector:4317")], "https://collector:4317");
    check(&[(ALL, "collector:4317"), ("OTEL_EXPORTER_OTLP_INSECURE", "true")], "http://collector:4317");
    check(&[(ALL, "collector:4317"), ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "TRUE")], "http://collector:4317");
    // A scheme says it already.
    check(&[(ALL, "https://collector:4317"), ("OTEL_EXPORTER_OTLP_INSECURE", "true")], "https://collector:4317");
}

/// What `[metrics.otlp]` and `[logs.otlp]` come to: `None`, or protocol and endpoint of each.
fn pushes(file: &str, variables: &[(&str, &str)]) -> (FileSettings, Vec<String>) {
    let environment = |wanted: &str| variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned());
    let (mut file, complaints) = file::parse(file, Path::new(""), &environment);
    assert_eq!(complaints, []);
    let mut complaints = Vec::new();
    let warnings = super::super::apply_otel(&environment, &mut file, &mut complaints);
    assert_eq!(complaints, []);
    (file, warnings)
}

const METRICS_CHOSEN: (&str, &str) = ("OTEL_METRICS_EXPORTER", "otlp,prometheus");
const LOGS_CHOSEN: (&str, &str) = ("OTEL_LOGS_EXPORTER", "otlp");

#[test]
fn metrics_and_logs_are_pushed_only_where_that_is_asked_for_by_name() {
    let check = |file: &str, variables: &[(&str, &str)], metrics: Option<&str>, logs: Option<&str>| {
        let (settings, warnings) = pushes(file, variables);
        let said = |protocol, endpoint: &str| format!("{protocol:?} {endpoint}");
        let found = settings.metrics.otlp.finished().map(|config| said(config.protocol, &config.push.endpoint));
        assert_eq!(found.as_deref(), metrics, "{file} {variables:?}");
        let found = settings.logs.otlp.finished().map(|config| said(config.protocol, &config.push.endpoint));
        assert_eq!(found.as_deref(), logs, "{file} {variables:?}");
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(settings.document["metrics"]["otlp"]["protocol"] == "none", metrics.is_none());
    };
    let base = (ALL, "http://c/base/");
    check("", &[base], None, None);
    check("", &[base, METRICS_CHOSEN], Some("Http http://c/base/v1/metrics"), None);
    check("", &[base, LOGS_CHOSEN, (PROTOCOL, "grpc")], None, Some("Grpc http://c/base/"));
    check("", &[METRICS_CHOSEN], Some("Http http://localhost:4318"), None);
    check("", &[("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://l/x"), base], None, Some("Http http://l/x"));
    let both = "[metrics.otlp]\nprotocol = \"grpc\"\n[logs.otlp]\nprotocol = \"http\"\nendpoint = \"http://f:1\"\n";
    check(both, &[], Some("Grpc http://localhost:4317"), Some("Http http://f:1"));
    check(both, &[(CHOSEN, "none"), base], Some("Grpc http://c/base/"), Some("Http http://c/base/v1/logs"));
    check(both, &[("OTEL_METRICS_EXPORTER", "prometheus"), ("OTEL_LOGS_EXPORTER", "none")], None, None);
    check(both, &[("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf")], Some("Http http://localhost:4318"), Some("Http http://f:1"));
    check(both, &[("OTEL_SDK_DISABLED", "true"), METRICS_CHOSEN], None, None);
}

#[test]
fn how_metrics_and_logs_get_there() {
    let variables = [
        METRICS_CHOSEN,
        LOGS_CHOSEN,
        (ALL, "https://c"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=all"),
        ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "a=s3cret"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "1500"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "250"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "64"),
    ];
    let (settings, warnings) = pushes("", &variables);
    assert_eq!(warnings, Vec::<String>::new());
    let (metrics, logs) = (settings.metrics.otlp.finished().unwrap(), settings.logs.otlp.finished().unwrap());
    assert_eq!((metrics.push.headers[0].1.0.as_str(), logs.push.headers[0].1.0.as_str()), ("all", "s3cret"));
    assert_eq!((metrics.push.timeout.as_millis(), logs.push.timeout.as_millis()), (1500, 10_000));
    assert_eq!((metrics.interval.as_secs(), logs.interval.as_millis(), logs.queue, logs.batch), (5, 250, 64, 64));
    assert_eq!(logs.push.tls.ca, Some(PathBuf::from("/ca.pem")));
    let document = &settings.document;
    assert_eq!(document["logs"]["otlp"]["headers"]["a"]["env"], "OTEL_EXPORTER_OTLP_LOGS_HEADERS");
    assert_eq!(
        (&document["metrics"]["otlp"]["interval"], &document["metrics"]["otlp"]["tls"]["ca"]),
        (&json!("5000ms"), &json!("/ca.pem"))
    );
    assert!(!document.to_string().contains("s3cret"));
    let (settings, warnings) = pushes("", &[("OTEL_LOGS_EXPORTER", "kafka"), ("OTEL_METRIC_EXPORT_INTERVAL", "1m")]);
    assert!(settings.logs.otlp.finished().is_none());
    assert!(warnings.len() == 2 && warnings.iter().any(|warning| warning.contains("OTEL_LOGS_EXPORTER")), "{warnings:?}");
}
