//! Limits, as written and as held against scrapes.

use std::time::Duration;

use super::*;
use crate::operator::exposition::Scrape;
use crate::operator::scrapes::Scrapes;

const BEFORE: &str = "# TYPE c counter\nc{o=\"ok\"} 10\nc{o=\"timeout\"} 1\n# TYPE h histogram\nh_bucket{le=\"0.1\"} 10\nh_bucket{le=\"1\"} 10\n\
    h_bucket{le=\"+Inf\"} 10\nh_sum 0.5\nh_count 10\n# TYPE g gauge\ng 5\n";
const NOW: &str = "# TYPE c counter\nc{o=\"ok\"} 30\nc{o=\"timeout\"} 4\nc{o=\"denied\"} 2\n# TYPE h histogram\nh_bucket{le=\"0.1\"} 10\n\
    h_bucket{le=\"1\"} 20\nh_bucket{le=\"+Inf\"} 20\nh_sum 5.5\nh_count 20\n# TYPE g gauge\ng 2\n";

fn change() -> Change {
    let mut scrapes = Scrapes::new(Duration::from_secs(10));
    scrapes.add(Duration::ZERO, Scrape::parse(BEFORE).unwrap());
    scrapes.add(Duration::from_secs(10), Scrape::parse(NOW).unwrap());
    scrapes.change()
}

fn check_in(change: &Change, text: &str, expected: &[(&str, f64, bool)]) {
    let threshold: Threshold = text.parse().unwrap();
    let compared = threshold.compare(change).unwrap();
    let compared: Vec<_> = compared.iter().map(|one| (one.of.as_str(), one.value, one.over)).collect();
    assert_eq!(compared, expected, "{text}");
    assert_eq!(threshold.to_string(), text.trim());
}

#[test]
fn values_are_reckoned_from_what_fits() {
    let check = |text: &str, of: &str, value: f64, over: bool| check_in(&change(), text, &[(of, value, over)]);
    check("c > 35", "c", 36.0, true);
    check("c > 36", "c", 36.0, false);
    check("c >= 36", "c", 36.0, true);
    check("c{o=\"ok\"} < 31", "c{o=\"ok\"}", 30.0, true);
    check("c{o!=\"ok\"}<=5", "c{o!=\"ok\"}", 6.0, false);
    check("c{o=~\"time.*|denied\"} == 6", "c{o=~\"time.*|denied\"}", 6.0, true);
    check("c{o!~\"time\", o!=\"ok\"} != 6", "c{o!~\"time\", o!=\"ok\"}", 6.0, false);
    check("c{o=\"aborted\"} > 0", "c{o=\"aborted\"}", 0.0, false);
    check(" increase( c{o!=\"ok\"} ) > 4 ", "increase( c{o!=\"ok\"} )", 5.0, true);
    check("rate(c) > 2", "rate(c)", 2.5, true);
    check("sum(c) > 35", "sum(c)", 36.0, true);
    check("h_count > 10", "h_count", 20.0, true);
    check("h_sum > 10", "h_sum", 5.5, false);
    check("increase(h_sum) > 4", "increase(h_sum)", 5.0, true);
    check("rate(h) > 1", "rate(h)", 1.0, false);
    check("p50(h) > 500ms", "p50(h)", 0.55, true);
    check("avg(h) > 1s", "avg(h)", 0.5, false);
    // Known to the gateway, and nothing happened yet.
    check("watchgate_mcp_tool_calls_total > 0", "watchgate_mcp_tool_calls_total", 0.0, false);
    check_in(&change(), "p99(watchgate_overhead_seconds) > 1s", &[]);
}

#[test]
fn without_a_window_the_whole_is_compared() {
    let whole = Change::whole(Scrape::parse(NOW).unwrap());
    check_in(&whole, "p50(h) > 50ms", &[("p50(h)", 0.1, true)]);
    check_in(&whole, "avg(h) > 0.2", &[("avg(h)", 0.275, true)]);
    check_in(&whole, "c > 35", &[("c", 36.0, true)]);
}

#[test]
fn series_of_gauges_are_compared_one_by_one() {
    const UP: &str = "# TYPE watchgate_server_up gauge\nwatchgate_server_up{server=\"a\"} 1\nwatchgate_server_up{server=\"b\"} 0\n";
    let change = Change::whole(Scrape::parse(UP).unwrap());
    let (a, b) = ("watchgate_server_up{server=\"a\"}", "watchgate_server_up{server=\"b\"}");
    check_in(&change, "watchgate_server_up < 1", &[(a, 1.0, false), (b, 0.0, true)]);
    check_in(&change, "watchgate_server_up == 0", &[(a, 1.0, false), (b, 0.0, true)]);
    check_in(&change, "watchgate_server_up{server=\"a\"} < 1", &[(a, 1.0, false)]);
    check_in(&change, "sum(watchgate_server_up) < 1", &[("sum(watchgate_server_up)", 1.0, false)]);
    check_in(&self::change(), "g > 1", &[("g", 2.0, true)]);
}

#[test]
fn what_is_not_there_cannot_be_compared() {
    let check = |text: &str, expected: &str| {
        let error = text
            .parse::<Threshold>()
            .and_then(|threshold| threshold.check_names().and_then(|()| threshold.compare(&change()).map(drop)))
            .unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    };
    check("typo > 0", "no metric is called typo");
    check("watchgate_sever_up < 1", "did you mean watchgate_server_up?");
    check("watchgate_server_up < 1", "no series fits watchgate_server_up: nothing was observed");
    check("sum(watchgate_server_up) < 1", "nothing was observed");
    check("watchgate_http_requests_total{outcom=\"timeout\"} > 0", "has no label outcom; did you mean outcome?");
    check("watchgate_http_requests_total{outcome=\"timout\"} > 0", "did you mean \"timeout\"?");
    check("watchgate_http_requests_total{server=\"wether\"} > 0", "no server is called wether");
    check("c{p=\"ok\"} > 0", "c has no label p");
    check("rate(c[5m]) > 0", "--window 5m");
    check("c[5m] > 0", "--window 5m");
    check("p99(g) > 0", "no histogram");
    check("h > 0", "p95(h)");
    check("p95(c) > 0", "no histogram");
    check("rate(g) > 0", "gauge");
    check("", "no name");
    check("> 5", "no name");
    check("c", "no comparison");
    check("c > ", "no number");
    check("c > many", "no number");
    check("c > inf", "no number");
    check("rate(c > 5", "not closed");
    check("c{o=ok} > 5", "labels are written");
    check("c{o=\"ok > 5", "labels are written");
    check("c{o=~\"(\"} > 5", "no regular expression");
    check("p42(c) > 1", "no comparison");
}
