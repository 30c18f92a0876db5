//! `[logs]`, `[metrics]` and `[traces]`.

use watchgate_mcp::trace_meta::MetaTrace;
use watchgate_proxy::Propagation;
use watchgate_telemetry::log::LogOutput;
use watchgate_telemetry::{AccessField, BucketGroup, Capture, Compression, Exporter, OtlpProtocol, Rotation};

use super::*;

#[test]
fn logs_and_buckets() {
    let text = r#"
[logs]
level = "info,watchgate_proxy=debug"
output = "-"
access_fields = ["server", "time"]
max_size = "1MiB"
max_files = 2
slow_call_threshold = "0s"
masked_fields = ["iban"]
capture = "on_error"
capture_bytes = "1KiB"
recent_lines = 0
[metrics.buckets]
http = [0.5, 2]
"#;
    let settings = sound(text);
    let logs = &settings.logs;
    assert_eq!((&*logs.level, &logs.output, logs.recent.lines), ("info,watchgate_proxy=debug", &LogOutput::Stdout, 0));
    assert_eq!(logs.access_fields, [AccessField::Server, AccessField::Time]);
    assert_eq!((logs.rotation, logs.slow_call_threshold), (Some(Rotation { max_size: 1 << 20, max_files: 2 }), None));
    assert!(logs.masked.masks("customer_iban") && logs.masked.masks("password"));
    let captured = logs.captured();
    assert_eq!((captured.calls, captured.bytes, captured.masked.masks("iban")), (Capture::OnError, 1024, true));
    assert_eq!(settings.metrics.buckets.of(BucketGroup::Http), [0.5, 2.0]);
    assert_eq!(settings.metrics.buckets.of(BucketGroup::Bytes), BucketGroup::Bytes.default_bounds());
    assert_eq!(sound("[logs]\nmax_size = \"1MiB\"\n").logs.rotation.map(|rotation| rotation.max_files), Some(5));

    check_refused("[logs]\nlevel = \"info,x=\"\nmax_files = 2\n", &[(2, "watchgate_proxy=debug"), (3, "without `logs.max_size`")]);
    check_refused("[logs]\naccess_fields = [\"time\", \"tme\", \"time\"]\n", &[(2, "`tme` is no field"), (2, "twice")]);
    check_refused("[logs]\naccess_fields = []\n", &[(2, "at least one")]);
    check_refused(
        "[metrics.buckets]\nhttp = []\nbytes = [2, 1]\nplugin = [nan]\noverhead = [\"1\"]\nhtp = 1\n",
        &[(2, "1 to 50"), (3, "above the one before"), (4, "finite"), (5, "list of numbers"), (6, "did you mean")],
    );
}

#[test]
fn metrics_and_logs_are_pushed_where_that_is_said() {
    let environment = |name: &str| (name == "KEY").then(|| "s3cret".to_owned());
    let text = r#"
[metrics]
path = "/prometheus"
[metrics.otlp]
protocol = "grpc"
headers = { x-key = { env = "KEY" } }
interval = "15s"
[logs.otlp]
protocol = "http"
endpoint = "https://collector/base"
compression = "gzip"
timeout = "3s"
queue = 100
interval = "2s"
"#;
    let (settings, complaints) = parse(text, Path::new(""), &environment);
    assert_eq!(complaints, []);
    assert_eq!(settings.metrics.path, "/prometheus");
    let metrics = settings.metrics.otlp.finished().unwrap();
    let found = (metrics.protocol, metrics.push.endpoint.as_str(), metrics.push.headers[0].1.0.as_str(), metrics.interval.as_secs());
    assert_eq!(found, (OtlpProtocol::Grpc, "http://localhost:4317", "s3cret", 15));
    let logs = settings.logs.otlp.finished().unwrap();
    assert_eq!((logs.protocol, logs.push.endpoint.as_str()), (OtlpProtocol::Http, "https://collector/base"));
    assert_eq!((logs.push.compression, logs.push.timeout.as_secs()), (Compression::Gzip, 3));
    assert_eq!((logs.queue, logs.batch, logs.interval.as_secs()), (100, 100, 2));
    assert!(!format!("{settings:?}").contains("s3cret"));
    let off = sound("[metrics.otlp]\nendpoint = \"http://c\"\n[logs.otlp]\nprotocol = \"none\"\n");
    assert_eq!((off.metrics.otlp.finished(), off.logs.otlp.finished()), (None, None));

    check_refused("[metrics]\npath = \"metrics\"\notlp.protocol = \"udp\"\n", &[(2, "/metrics"), (3, "grpc")]);
    check_refused("[metrics]\npath = \"/api/plugins\"\n", &[(2, "has something else at /api/plugins")]);
    check_refused("[logs.otlp]\nqueue = 10\nbatch = 11\nendpoint = \"c\"\n", &[(3, "which is 10"), (4, "`logs.otlp.endpoint`")]);
    check_refused("[metrics.otlp]\nheaders = { x = \"s3cret\" }\n", &[(2, "`metrics.otlp.headers` holds \"x\"")]);
    check_refused("[logs.otlp.tls]\nkey = \"none\"\n", &[(1, "`logs.otlp.tls` must have"), (2, "names no file")]);
}

#[test]
fn traces_and_what_servers_are_told_of_them() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["ca.pem", "c.pem", "k.pem"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    std::fs::write(folder.path().join("team"), "core\n").unwrap();
    let environment = |name: &str| (name == "KEY").then(|| "s3cret".to_owned());
    let text = r#"
[traces]
exporter = "otlp-grpc"
endpoint = "https://collector:4317"
headers = { x-key = { env = "KEY" }, x-team = { file = "team" } }
compression = "gzip"
queue = 100
ratio = 1
parent_based = false
slow = "1s"
service_name = "edge"
resource = { zone = "b" }
recent_count = 0
propagate = false
request_ids = false
meta = "add"
[traces.tls]
ca = "ca.pem"
certificate = "c.pem"
key = "k.pem"
"#;
    let (settings, complaints) = parse(text, folder.path(), &environment);
    assert_eq!(complaints, []);
    let config = settings.traces.finished(None);
    assert_eq!((config.exporter, config.push.endpoint.as_str()), (Exporter::OtlpGrpc, "https://collector:4317"));
    let headers: Vec<_> = config.push.headers.iter().map(|(name, value)| (name.as_str(), value.0.as_str())).collect();
    assert_eq!(headers, [("x-key", "s3cret"), ("x-team", "core")]);
    assert_eq!((config.queue, config.batch, config.ratio, config.parent_based), (100, 100, 1.0, false));
    assert_eq!((config.slow.as_secs(), &*config.service_name, config.recent.count), (1, "edge", 0));
    assert_eq!(config.push.tls.client, Some((folder.path().join("c.pem"), folder.path().join("k.pem"))));
    assert_eq!(settings.traces.propagation(), Propagation { headers: false, meta: Some(MetaTrace::Add), request_ids: false });
    assert!(settings.files.contains(&folder.path().join("team")));
    assert!(!format!("{settings:?}").contains("s3cret"));
    assert!(sound("[traces]\nexporter = \"console\"\n").traces.propagation().headers);
    assert!(!sound("[traces]\npropagate = \"auto\"\nrequest_ids = true\n").traces.propagation().headers);
    let (_, complaints) = parse("[traces]\nheaders = { \"a b\" = { env = \"KEY\" } }\n", folder.path(), &environment);
    assert!(complaints.len() == 1 && complaints[0].1.contains("no header"), "{complaints:?}");
}

#[test]
fn mistakes_about_traces() {
    check_refused("[traces]\nqueue = 10\nbatch = 11\npropagate = \"on\"\n", &[(3, "which is 10"), (4, "true or false")]);
    check_refused("[traces]\nendpoint = \"collector:4317\"\nratio = 1.5\n", &[(2, "`traces.endpoint`"), (3, "0 to 1")]);
    let secret = "[traces]\nheaders = { x-key = \"s3cret\" }\n";
    check_refused(secret, &[(2, "`traces.headers` holds \"x-key\", which must be { env")]);
    assert!(!format!("{:?}", parsed(secret).1).contains("s3cret"));
    check_refused("[traces]\nheaders = { x = { env = \"NONE\" } }\n", &[(2, "`NONE`, which is not set")]);
    check_refused("[traces]\nexporter = \"jaeger\"\nservice_name = \"\"\n", &[(2, "otlp-grpc"), (3, "must not be empty")]);
    check_refused("[traces.tls]\nkey = \"none\"\n", &[(1, "together"), (2, "names no file")]);
}
