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

#[test]
fn values_are_reckoned_from_what_fits() {
    let check = |text: &str, expected: Option<f64>, over: bool| {
        let threshold: Threshold = text.parse().unwrap();
        let value = threshold.value(&change()).unwrap();
        assert_eq!(value, expected, "{text}");
        assert_eq!(value.is_some_and(|value| threshold.is_over(value)), over, "{text}");
        assert_eq!(threshold.to_string(), text.trim());
    };
    check("c > 35", Some(36.0), true);
    check("c > 36", Some(36.0), false);
    check("c >= 36", Some(36.0), true);
    check("c{o=\"ok\"} < 31", Some(30.0), true);
    check("c{o!=\"ok\"}<=5", Some(6.0), false);
    check("c{o=~\"time.*|denied\"} == 6", Some(6.0), true);
    check("c{o!~\"time\", o!=\"ok\"} != 6", Some(6.0), false);
    check("c{o=\"aborted\"} > 0", Some(0.0), false);
    check(" increase( c{o!=\"ok\"} ) > 4 ", Some(5.0), true);
    check("rate(c) > 2", Some(2.5), true);
    check("h_count > 10", Some(20.0), true);
    check("h_sum > 10", Some(5.5), false);
    check("increase(h_sum) > 4", Some(5.0), true);
    check("rate(h) > 1", Some(1.0), false);
    check("p50(h) > 500ms", Some(0.55), true);
    check("avg(h) > 1s", Some(0.5), false);
    check("g > 1", Some(2.0), true);
    // Known to the gateway, and nothing happened yet.
    check("watchgate_mcp_tool_calls_total > 0", Some(0.0), false);
}

#[test]
fn what_is_not_there_cannot_be_compared() {
    let check = |text: &str, expected: &str| {
        let error = text.parse::<Threshold>().and_then(|threshold| threshold.value(&change()).map(drop)).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    };
    check("watchgate_typo > 0", "no metric is called watchgate_typo");
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
