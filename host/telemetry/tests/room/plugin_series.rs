//! The metrics that plugins define: declarations, generations, bounds.

use std::sync::Arc;

use watchgate_telemetry::MetricKind::{Counter, Gauge, Histogram};
use watchgate_telemetry::{AccessLogTarget, Declaration, DeclareError, MOST_METRICS, MOST_SERIES, MetricKind, PluginMetrics, Telemetry};

use crate::exposition::Exposition;
use crate::scene;

fn declaration(kind: MetricKind, name: &str, labels: &[&str]) -> Declaration {
    let labels = labels.iter().map(ToString::to_string).collect();
    Declaration { kind, name: name.into(), help: "Help.".into(), unit: String::new(), labels, buckets: Vec::new() }
}

fn scrape(telemetry: &Telemetry) -> Exposition {
    Exposition::read(&telemetry.render_prometheus())
}

fn labels(values: &[&str]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

/// A live generation with one counter `hits`, by the labels given, already at `value`.
fn live(telemetry: &Telemetry, plugin: &str, names: &[&str], value: f64) -> Arc<PluginMetrics> {
    let metrics = telemetry.open_plugin_metrics(plugin);
    let id = metrics.declare(declaration(Counter, "hits", names)).unwrap();
    metrics.freeze();
    metrics.activate();
    metrics.add(id, value, &labels(&vec!["v"; names.len()]));
    metrics
}

#[test]
fn each_type_is_shown_with_the_plugins_name() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let metrics = telemetry.open_plugin_metrics("p");
    let counter = metrics.declare(declaration(Counter, "c_total", &["a"])).unwrap();
    let gauge = metrics.declare(declaration(Gauge, "g", &[])).unwrap();
    let mut sizes = declaration(Histogram, "h", &["a"]);
    (sizes.buckets, sizes.unit, sizes.help) = (vec![1.0, 10.0], "bytes".into(), "Sizes \\ of\nthings.".into());
    let histogram = metrics.declare(sizes).unwrap();
    metrics.add(counter, 1.0, &labels(&["too early"]));
    assert!(!telemetry.render_prometheus().contains("c_total"));
    metrics.activate();
    metrics.add(counter, 2.5, &labels(&["x", "surplus"]));
    metrics.set(gauge, -3.0, &[]);
    metrics.observe(histogram, 5.0, &[]);
    let scraped = scrape(&telemetry);
    assert_eq!(scraped.value("c_total", &[("plugin", "p"), ("a", "x")]), 2.5);
    assert_eq!(scraped.find("c_total", &[]).len(), 1, "what came before activation is not recorded");
    assert_eq!(scraped.value("g", &[("plugin", "p")]), -3.0);
    assert_eq!(scraped.value("h_bucket", &[("plugin", "p"), ("a", ""), ("le", "10")]), 1.0);
    assert_eq!(scraped.families["h"].help, "Sizes \\ of\nthings. Unit: bytes.");
    assert_eq!(telemetry.snapshot().of("h_sum").map(|series| series.value).sum::<f64>(), 5.0);
}

#[test]
fn an_equal_declaration_keeps_its_values_and_everything_else_ends() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let first = live(&telemetry, "p", &["a"], 5.0);
    let second = telemetry.open_plugin_metrics("p");
    let kept = second.declare(declaration(Counter, "hits", &["a"])).unwrap();
    let new = second.declare(declaration(Gauge, "level", &[])).unwrap();
    second.add(kept, 100.0, &labels(&["v"]));
    assert_eq!(scrape(&telemetry).value("hits", &[]), 5.0, "a trial records nothing");
    second.activate();
    second.add(kept, 1.0, &labels(&["v"]));
    second.set(new, 1.0, &[]);
    first.retire();
    drop(first);
    assert_eq!(scrape(&telemetry).value("hits", &[("a", "v"), ("plugin", "p")]), 6.0);

    let third = telemetry.open_plugin_metrics("p");
    let other = third.declare(declaration(Gauge, "level", &["b"])).unwrap();
    third.activate();
    third.set(other, 2.0, &labels(&["x"]));
    drop(second);
    let scraped = scrape(&telemetry);
    assert!(!scraped.families.contains_key("hits"));
    assert_eq!(scraped.find("level", &[]).len(), 1);
    assert_eq!(scraped.value("level", &[("b", "x")]), 2.0);
    third.retire();
    third.activate();
    assert!(!scrape(&telemetry).families.contains_key("level"), "retired for good");
}

#[test]
fn a_replaced_generation_still_counts_into_shared_series_while_it_drains() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let first = telemetry.open_plugin_metrics("p");
    let shared = first.declare(declaration(Counter, "hits", &[])).unwrap();
    let own = first.declare(declaration(Counter, "gone", &[])).unwrap();
    first.activate();
    let second = telemetry.open_plugin_metrics("p");
    second.declare(declaration(Counter, "hits", &[])).unwrap();
    second.activate();
    first.add(shared, 1.0, &[]);
    first.add(own, 1.0, &[]);
    let scraped = scrape(&telemetry);
    assert_eq!(scraped.value("hits", &[]), 1.0);
    assert!(!scraped.families.contains_key("gone"));
    first.retire();
    first.add(shared, 1.0, &[]);
    assert_eq!(scrape(&telemetry).value("hits", &[]), 1.0);
}

/// What the next generation changes, and whether the counter at 5 keeps its value.
fn check_adoption(change: impl Fn(&mut Declaration), expected: f64) {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let first = live(&telemetry, "p", &["a"], 5.0);
    let second = telemetry.open_plugin_metrics("p");
    let mut next = declaration(Counter, "hits", &["a"]);
    change(&mut next);
    let kind = next.kind;
    let id = second.declare(next).unwrap();
    second.activate();
    drop(first);
    match kind {
        Counter => second.add(id, 1.0, &labels(&["v"])),
        Gauge => second.set(id, 1.0, &labels(&["v"])),
        Histogram => second.observe(id, 1.0, &labels(&["v"])),
    }
    let sample = if kind == Histogram { "hits_sum" } else { "hits" };
    assert_eq!(scrape(&telemetry).value(sample, &[]), expected);
}

#[test]
fn the_next_generation_may_change_what_a_name_means() {
    check_adoption(|_| {}, 6.0);
    check_adoption(|next| next.help = "Other.".into(), 1.0);
    check_adoption(|next| next.unit = "bytes".into(), 1.0);
    check_adoption(|next| next.labels = labels(&["b"]), 1.0);
    check_adoption(|next| next.labels = labels(&["a", "b"]), 1.0);
    check_adoption(|next| next.kind = Gauge, 1.0);
    check_adoption(|next| next.kind = Histogram, 1.0);
}

#[test]
fn plugins_share_a_name_of_one_type_and_nothing_else() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let one = live(&telemetry, "one", &["a"], 1.0);
    let two = live(&telemetry, "two", &["b"], 2.0);
    let scraped = scrape(&telemetry);
    assert_eq!(scraped.value("hits", &[("plugin", "one"), ("a", "v")]), 1.0);
    assert_eq!(scraped.value("hits", &[("plugin", "two"), ("b", "v")]), 2.0);

    let three = telemetry.open_plugin_metrics("three");
    assert_eq!(three.declare(declaration(Gauge, "hits", &[])), Err(DeclareError::Taken("hits".into())));
    drop(one);
    assert_eq!(three.declare(declaration(Gauge, "hits", &[])), Err(DeclareError::Taken("hits".into())));
    drop(two);
    assert!(three.declare(declaration(Gauge, "hits", &[])).is_ok());
}

#[test]
fn samples_of_a_histogram_clash_with_metrics_of_their_names() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let metrics = telemetry.open_plugin_metrics("p");
    metrics.declare(declaration(Histogram, "h", &[])).unwrap();
    assert_eq!(metrics.declare(declaration(Counter, "h_count", &[])), Err(DeclareError::Taken("h_count".into())));
    metrics.declare(declaration(Counter, "x_sum", &[])).unwrap();
    assert_eq!(metrics.declare(declaration(Histogram, "x", &[])), Err(DeclareError::Taken("x".into())));
    let neighbour = telemetry.open_plugin_metrics("q");
    assert_eq!(neighbour.declare(declaration(Counter, "h_bucket", &[])), Err(DeclareError::Taken("h_bucket".into())));
}

#[test]
fn declarations_are_repeated_by_each_instance_and_never_grow_after_the_first() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let metrics = telemetry.open_plugin_metrics("p");
    let id = metrics.declare(declaration(Counter, "hits", &["a"]));
    assert_eq!(metrics.declare(declaration(Counter, "hits", &["b"])), Err(DeclareError::Redeclared("hits".into())));
    for index in 1..MOST_METRICS {
        metrics.declare(declaration(Counter, &format!("m{index}"), &[])).unwrap();
    }
    assert_eq!(metrics.declare(declaration(Counter, "surplus", &[])), Err(DeclareError::TooManyMetrics));
    metrics.freeze();
    metrics.activate();
    assert_eq!(metrics.declare(declaration(Counter, "hits", &["a"])), id);
    assert_eq!(metrics.declare(declaration(Gauge, "hits", &["a"])), Err(DeclareError::Redeclared("hits".into())));
    assert_eq!(metrics.declare(declaration(Counter, "new", &[])), Err(DeclareError::NotInFirstStart("new".into())));
    assert!(matches!(metrics.declare(declaration(Counter, "watchgate_x", &[])), Err(DeclareError::Reserved(_))));
}

#[test]
fn values_past_1000_series_go_to_other() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let metrics = telemetry.open_plugin_metrics("p");
    let hits = metrics.declare(declaration(Counter, "hits", &["a", "b"])).unwrap();
    let level = metrics.declare(declaration(Gauge, "level", &[])).unwrap();
    metrics.activate();
    for index in 0..100_000 {
        metrics.add(hits, 1.0, &labels(&[&index.to_string(), "x"]));
    }
    metrics.set(level, 1.0, &[]);
    metrics.add(hits, 1.0, &labels(&["7", "x"]));
    let scraped = scrape(&telemetry);
    assert_eq!(scraped.find("hits", &[]).len(), MOST_SERIES + 1);
    assert_eq!(scraped.value("hits", &[("a", "7")]), 2.0, "series that exist go on");
    assert_eq!(scraped.value("hits", &[("a", "_other"), ("b", "_other")]), 99_000.0);
    assert_eq!(scraped.value("level", &[]), 1.0, "a metric without labels has its one series");
    assert_eq!(scraped.value("watchgate_plugin_series_overflow_total", &[("plugin", "p")]), 99_000.0);
}

#[test]
fn long_label_values_are_cut_between_characters() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let metrics = telemetry.open_plugin_metrics("p");
    let hits = metrics.declare(declaration(Counter, "hits", &["a"])).unwrap();
    metrics.activate();
    let check = |value: &str, expected: &str| {
        metrics.add(hits, 1.0, &labels(&[value]));
        assert_eq!(scrape(&telemetry).value("hits", &[("a", expected)]), 1.0, "{value:?}");
    };
    check(&"x".repeat(128), &"x".repeat(128));
    check(&"y".repeat(1_000_000), &"y".repeat(128));
    check(&format!("z{}", "ü".repeat(70)), &format!("z{}", "ü".repeat(63)));
    check(&"😀".repeat(33), &"😀".repeat(32));
    check("\"} 1\nfake 2\\", "\"} 1\nfake 2\\");
}

#[test]
fn nonsense_values_are_refused_and_counted() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let metrics = telemetry.open_plugin_metrics("p");
    let hits = metrics.declare(declaration(Counter, "hits", &[])).unwrap();
    let level = metrics.declare(declaration(Gauge, "level", &[])).unwrap();
    let sizes = metrics.declare(declaration(Histogram, "sizes", &[])).unwrap();
    metrics.activate();
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        metrics.add(hits, bad, &[]);
        metrics.set(level, bad, &[]);
        metrics.observe(sizes, bad, &[]);
    }
    metrics.add(hits, -1.0, &[]);
    metrics.set(hits, 1.0, &[]);
    let elsewhere = telemetry.open_plugin_metrics("q");
    elsewhere.activate();
    elsewhere.add(sizes, 1.0, &[]);
    let scraped = scrape(&telemetry);
    let refused = |plugin, reason| scraped.value("watchgate_plugin_values_dropped_total", &[("plugin", plugin), ("reason", reason)]);
    assert_eq!((refused("p", "not_finite"), refused("p", "negative"), refused("p", "wrong_type")), (9.0, 1.0, 1.0));
    assert_eq!(refused("q", "unknown_metric"), 1.0);
    assert!(["hits", "level", "sizes"].iter().all(|name| !scraped.families.contains_key(*name)));
}

#[test]
fn recording_scraping_and_swapping_at_once_loses_nothing() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let mut generation = live(&telemetry, "p", &[], 0.0);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            let draining = generation.clone();
            let id = draining.declare(declaration(Counter, "hits", &[])).unwrap();
            scope.spawn(move || (0..1000).for_each(|_| draining.add(id, 1.0, &[])));
            let next = telemetry.open_plugin_metrics("p");
            next.declare(declaration(Counter, "hits", &[])).unwrap();
            next.activate();
            generation = next;
            scrape(&telemetry);
        }
    });
    assert_eq!(scrape(&telemetry).value("hits", &[]), 20_000.0);
}
