//! What `docs/telemetry.md` names is what the gateway says: nothing documented that traffic cannot bring about, nothing said that is not documented.

mod pushed;
pub mod scene;
mod server;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use watchgate_tests::metrics::Sample;
use watchgate_tests::reference::Row;
use watchgate_tests::{DEADLINE, Gateway, Reference, wait_until};

use scene::{Scene, own_log};

/// What nothing in a test can bring about, as `attribute NAME` and the like, and why. A name that is said after all must be taken off.
const NEVER_SAID: &[(&str, &str)] = &[];

/// What begins the names of the metrics that the plugins of the scene have of their own.
const PLUGINS_OWN: [&str; 3] = ["tool_sizes_", "redact_secrets_", "probe_"];

#[test]
fn every_documented_name_is_emitted_and_every_emitted_name_is_documented() {
    let (reference, mut scene) = (Reference::of_page("telemetry.md"), Scene::start());
    scene.play();
    let mut complaints = Vec::new();
    // What is said last is said by tasks of its own: everything is looked at until nothing is missing.
    let clean = watchgate_tests::wait::wait_for(DEADLINE, || {
        complaints = all_complaints(&scene.gateway, &reference);
        complaints.extend(pushed::complaints(&reference, &scene.collector.requests()));
        complaints.is_empty().then_some(())
    });
    assert!(clean.is_some(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

fn all_complaints(gateway: &Gateway, reference: &Reference) -> Vec<String> {
    let spans = spans(gateway);
    let (documented, said) = (documented(reference), said(gateway, &spans, reference.rows("Spans")));
    let mut complaints = metrics(gateway, reference);
    complaints.extend(reference.rows("Attributes").iter().filter_map(|row| misplaced(row, &spans)));
    for (name, why) in NEVER_SAID {
        match (documented.contains_key(*name), said.contains_key(*name)) {
            (true, false) => {}
            (false, _) => complaints.push(format!("{name} is excused ({why}) and not documented")),
            (true, true) => complaints.push(format!("{name} is excused ({why}) and said nevertheless")),
        }
    }
    let is_excused = |name: &str| NEVER_SAID.iter().any(|(excused, _)| *excused == name);
    for (name, kind) in &documented {
        match said.get(name) {
            None if is_excused(name) => {}
            None => complaints.push(format!("{name} is documented and never said")),
            Some(value) if is_of_kind(value, kind) => {}
            Some(value) => complaints.push(format!("{name} is documented as {kind} and has the value {value}")),
        }
    }
    // An event of the own log has fields of its own beside the documented members, and these are no closed set.
    let unknown = said.keys().filter(|name| !documented.contains_key(*name) && !name.starts_with("own log "));
    complaints.extend(unknown.map(|name| format!("{name} is said and not documented")));
    complaints
}

/// Each documented name with its type, which is empty where it has none.
fn documented(reference: &Reference) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    let tables =
        [("Attributes", "attribute"), ("Access log", "access member"), ("Own log", "own log member"), ("Events on spans", "event")];
    for (heading, what) in tables {
        let column = what.split(' ').next_back().unwrap();
        let rows = reference.rows(heading).iter();
        names.extend(rows.map(|row| (format!("{what} {}", row[column]), row.get("type").cloned().unwrap_or_default())));
    }
    names.extend(reference.rows("Spans").iter().map(|row| (format!("span {} {}", row["kind"], row["span"]), String::new())));
    names
}

/// Each name that is in the traces and logs, with one of its values.
fn said(gateway: &Gateway, spans: &[Value], shapes: &[Row]) -> BTreeMap<String, Value> {
    let mut said = BTreeMap::new();
    let mut members = |what: &str, object: &Value| {
        let members = object.as_object().unwrap().iter();
        said.extend(members.map(|(name, value)| (format!("{what} {name}"), value.clone())));
    };
    let mut names = BTreeMap::new();
    for span in spans {
        names.insert(format!("span {} {}", span["kind"].as_str().unwrap(), shape_of(span, shapes)), Value::Null);
        members("attribute", &span["attributes"]);
        for event in span["events"].as_array().unwrap() {
            names.insert(format!("event {}", event["name"].as_str().unwrap()), Value::Null);
            members("attribute", &event["attributes"]);
        }
    }
    gateway.access_log().iter().for_each(|line| members("access member", line));
    // A slow call says which it was in fields of its own; members are what every event has of the exchange that it is about.
    let of_events = own_log(gateway).into_iter().filter(|line| !line["target"].as_str().is_some_and(|target| target.ends_with("::slow")));
    of_events.for_each(|line| members("own log member", &line));
    said.extend(names);
    said
}

/// Whether a value is what the reference calls `kind`.
fn is_of_kind(value: &Value, kind: &str) -> bool {
    match kind {
        "" => true,
        "string" => value.is_string(),
        "int" | "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => false,
    }
}

/// What is wrong with `/metrics`: families, their types, their labels, and whether something was counted in each.
fn metrics(gateway: &Gateway, reference: &Reference) -> Vec<String> {
    let scrape = gateway.metrics();
    let mut samples: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    let types: BTreeMap<&str, &str> = scrape.families().collect();
    for sample in scrape.all() {
        let family =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| sample.name.strip_suffix(end)).filter(|name| types.contains_key(name));
        samples.entry(family.unwrap_or(&sample.name)).or_default().push(sample);
    }
    let mut complaints = Vec::new();
    for row in reference.rows("Metrics") {
        let name = row["metric"].as_str();
        match samples.remove(name) {
            None => complaints.push(format!("metric {name} is documented and has no series")),
            Some(found) => complaints.extend(family(row, types.get(name).copied().unwrap_or_default(), &found)),
        }
    }
    for (name, found) in samples {
        let is_of_plugin =
            PLUGINS_OWN.iter().any(|own| name.starts_with(own)) && found.iter().all(|sample| sample.labels.contains_key("plugin"));
        if !is_of_plugin {
            complaints.push(format!("metric {name} is served and not documented"));
        }
    }
    let labels: BTreeSet<&str> = reference.column("Labels", "label").into_iter().collect();
    let used: BTreeSet<&str> = reference.rows("Metrics").iter().flat_map(labels_of).collect();
    complaints.extend(labels.symmetric_difference(&used).map(|label| format!("label {label} is documented in one table only")));
    complaints.extend(
        reference.rows("Closed sets").iter().filter(|row| row["label"] != "error_type").flat_map(|row| strangers(row, scrape.all())),
    );
    complaints
}

/// What stands in a label and not in its closed set.
fn strangers(row: &Row, samples: &[Sample]) -> Vec<String> {
    let known: BTreeSet<&str> = row["values"].split(", ").chain(["", "_other"]).collect();
    let label = &row["label"];
    let has_set = |sample: &&Sample| match row["of"].as_str() {
        // Plugins have labels of their own, which may be called the same.
        "every one that has it" => !PLUGINS_OWN.iter().any(|own| sample.name.starts_with(own)),
        metrics => metrics.split(", ").any(|metric| sample.name.starts_with(metric)),
    };
    let values: BTreeSet<&str> =
        samples.iter().filter(has_set).filter_map(|sample| sample.labels.get(label.as_str())).map(String::as_str).collect();
    values
        .difference(&known)
        .map(|value| format!("label {label} has the value {value}, which is not documented for {}", row["of"]))
        .collect()
}

fn labels_of(row: &Row) -> impl Iterator<Item = &str> {
    row["labels"].split(", ").filter(|label| !label.is_empty())
}

/// What is wrong with one documented family.
fn family(row: &Row, kind: &str, samples: &[&Sample]) -> Vec<String> {
    let name = &row["metric"];
    let mut complaints = Vec::new();
    let documented = row["type"].split(',').next().unwrap_or_default();
    if documented != kind {
        complaints.push(format!("metric {name} is documented as {documented} and served as {kind:?}"));
    }
    let expected: BTreeSet<&str> = labels_of(row).collect();
    for sample in samples {
        let labels: BTreeSet<&str> = sample.labels.keys().map(String::as_str).filter(|label| *label != "le").collect();
        if labels != expected {
            complaints.push(format!("metric {name} has the labels {labels:?} and not {expected:?}"));
            break;
        }
    }
    // Some series are there from the start; what is asked is that something came about. A gauge may be back at 0.
    let counts = |sample: &&&Sample| sample.name == *name || sample.name.ends_with("_count");
    if kind != "gauge" && samples.iter().filter(counts).all(|sample| sample.value == 0.0) {
        complaints.push(format!("metric {name} has counted nothing"));
    }
    complaints
}

/// Every span that the gateway remembers.
fn spans(gateway: &Gateway) -> Vec<Value> {
    let list = gateway.admin_get("/api/traces?limit=1000").json().unwrap();
    let ids: BTreeSet<&str> = list["traces"].as_array().unwrap().iter().map(|trace| trace["trace_id"].as_str().unwrap()).collect();
    let traces = ids.into_iter().map(|id| wait_until("the trace is there", || gateway.admin_get(&format!("/api/traces/{id}")).json().ok()));
    let spans_of = |trace: Value| {
        let exchanges = trace["exchanges"].as_array().cloned().unwrap_or_default();
        exchanges.into_iter().flat_map(|exchange| exchange["spans"].as_array().cloned().unwrap())
    };
    traces.flat_map(spans_of).collect()
}

/// What is wrong where the reference says that an attribute is on SERVER spans, CLIENT spans, or both.
fn misplaced(row: &Row, spans: &[Value]) -> Option<String> {
    let place = row["meaning"].split(". ").find(|sentence| sentence.starts_with("On "))?;
    let expected: BTreeSet<&str> = ["SERVER", "CLIENT"].into_iter().filter(|kind| place.contains(kind)).collect();
    let name = &row["attribute"];
    let bearers = spans.iter().filter(|span| span["attributes"].get(name).is_some());
    let found: BTreeSet<&str> = bearers.map(|span| span["kind"].as_str().unwrap()).collect();
    (!expected.is_empty() && found != expected).then(|| format!("attribute {name} is documented {place:?} and is on {found:?}"))
}

/// The documented name that a span's own name is made from; its own name where there is none.
fn shape_of(span: &Value, documented: &[Row]) -> String {
    let name = span["name"].as_str().unwrap();
    let fits = |row: &&Row| row["kind"] == span["kind"] && filled_in(&row["span"], &span["attributes"]) == name;
    documented.iter().find(fits).map_or(name, |row| &row["span"]).to_owned()
}

/// A documented name with the attributes in the place of what stands in braces; what is not there is left out.
fn filled_in(shape: &str, attributes: &Value) -> String {
    let words = shape.split(' ').map(|word| {
        let attribute = |name: &str| attributes[name].as_str().unwrap_or_default().to_owned();
        match word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) {
            None => word.to_owned(),
            Some("http.request.method") if attributes["http.request.method"] == "_OTHER" => "HTTP".to_owned(),
            Some("target") => attribute("gen_ai.tool.name") + &attribute("gen_ai.prompt.name"),
            Some(name) => attribute(name),
        }
    });
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}
