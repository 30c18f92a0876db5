//! The promise of the evaluator: from snapshots and times to what is said, and to nobody's clock.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use watchgate_alerts::{AlertsConfig, Evaluator, MAX_ALERTS_PER_RULE, Moment, Operator, Rule, RuleKind};
use watchgate_hooks::{Alert, AlertState};
use watchgate_telemetry::{MetricSnapshot, Series};

const METRIC: &str = "watchgate_mcp_tool_calls_total";

fn at(second: u64) -> Moment {
    Moment { elapsed: Duration::from_secs(second), wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + second) }
}

fn rule(kind: RuleKind) -> Rule {
    Rule {
        name: "errors".to_owned(),
        metric: METRIC.to_owned(),
        labels: BTreeMap::from([("outcome".to_owned(), "tool_error".to_owned())]),
        kind,
        op: Operator::Above,
        threshold: 1.0,
        for_: Duration::ZERO,
        severity: "warning".to_owned(),
        extra_labels: BTreeMap::from([("team".to_owned(), "tools".to_owned())]),
        summary: "tools fail".to_owned(),
    }
}

fn evaluator(rule: Rule) -> Evaluator {
    let config = AlertsConfig { rules: vec![rule], repeat_interval: Duration::from_secs(3600), ..AlertsConfig::default() };
    config.validate().unwrap();
    Evaluator::new(&config)
}

/// Failed calls by tool, beside series that no rule here speaks of.
fn failures(values: &[(&str, f64)]) -> MetricSnapshot {
    let series = |metric: &str, tool: &str, outcome: &str, value| Series {
        name: metric.to_owned(),
        labels: vec![("outcome".to_owned(), outcome.to_owned()), ("tool".to_owned(), tool.to_owned())],
        value,
    };
    let mut all = vec![series(METRIC, "echo", "ok", 1e9), series("other_total", "echo", "tool_error", 1e9)];
    all.extend(values.iter().map(|(tool, value)| series(METRIC, tool, "tool_error", *value)));
    MetricSnapshot::from_series(all)
}

/// What is said, short: `+tool`, `=tool` for a repeat, `-tool` for a resolution; without a tool for a rate.
fn said(alerts: &[Alert]) -> Vec<String> {
    let tool = |alert: &Alert| alert.labels.iter().find(|(name, _)| name == "tool").map(|(_, value)| value.clone()).unwrap_or_default();
    let sign = |alert: &Alert| match (alert.state, alert.is_repeat) {
        (AlertState::Firing, false) => "+",
        (AlertState::Firing, true) => "=",
        (AlertState::Resolved, _) => "-",
    };
    alerts.iter().map(|alert| format!("{}{}", sign(alert), tool(alert))).collect()
}

/// A second, the values by tool then, and what is said.
type Step<'a> = (u64, &'a [(&'a str, f64)], &'a [&'a str]);

fn check(rule: Rule, steps: &[Step<'_>]) {
    let mut evaluator = evaluator(rule);
    for (second, values, expected) in steps {
        let alerts = evaluator.step(at(*second), &failures(values));
        assert_eq!(said(&alerts), *expected, "at second {second}");
    }
}

#[test]
fn each_series_over_the_threshold_is_an_alert_of_its_own() {
    check(
        rule(RuleKind::Value),
        &[
            (0, &[("a", 1.0), ("b", 0.0)], &[]),
            (15, &[("a", 2.0), ("b", 0.0)], &["+a"]),
            (30, &[("a", 3.0), ("b", 2.0)], &["+b"]),
            (45, &[("a", 0.0), ("b", 2.0)], &["-a"]),
            (60, &[("a", 2.0), ("b", 2.0)], &["+a"]),
        ],
    );
}

#[test]
fn another_configuration_keeps_the_alerts_that_are_still_the_same() {
    let config = |rules: &[Rule]| AlertsConfig { rules: rules.to_vec(), ..AlertsConfig::default() };
    let (kept, gone) = (rule(RuleKind::Value), Rule { name: "others".to_owned(), ..rule(RuleKind::Value) });
    let mut evaluator = Evaluator::new(&config(&[gone.clone(), kept.clone()]));
    assert_eq!(said(&evaluator.step(at(0), &failures(&[("a", 5.0), ("b", 3.0)]))), ["+a", "+b", "+a", "+b"]);
    // With another threshold the alerts are the same ones; the next step decides which still hold.
    let raised = Rule { threshold: 4.0, ..kept.clone() };
    let over = evaluator.reconfigure(&config(&[raised]), at(5));
    assert_eq!((said(&over), over.iter().all(|alert| alert.name == "others")), (vec!["-a".to_owned(), "-b".to_owned()], true));
    assert_eq!(said(&evaluator.step(at(10), &failures(&[("a", 5.0), ("b", 3.0)]))), ["-b"]);
    // With another severity they are not: whoever was told of the old ones hears that they are over.
    let severe = Rule { severity: "critical".to_owned(), ..kept };
    assert_eq!(said(&evaluator.reconfigure(&config(&[severe, gone]), at(15))), ["-a"]);
    assert_eq!(said(&evaluator.step(at(20), &failures(&[("a", 5.0)]))), ["+a", "+a"]);
    assert_eq!(said(&evaluator.reconfigure(&config(&[]), at(25))), ["-a", "-a"]);
}

#[test]
fn an_alert_fires_once_its_condition_has_held_long_enough() {
    let slow = Rule { for_: Duration::from_secs(30), ..rule(RuleKind::Value) };
    check(
        slow,
        &[
            (0, &[("a", 2.0)], &[]),
            (15, &[("a", 2.0)], &[]),
            (30, &[("a", 2.0)], &["+a"]),
            (45, &[("a", 0.0)], &["-a"]),
            (60, &[("a", 2.0)], &[]),
            (75, &[("a", 0.0)], &[]),
            (90, &[("a", 2.0)], &[]),
            (105, &[("a", 2.0)], &[]),
            (120, &[("a", 2.0)], &["+a"]),
        ],
    );
}

#[test]
fn what_still_fires_is_said_again() {
    check(
        rule(RuleKind::Value),
        &[
            (0, &[("a", 2.0)], &["+a"]),
            (3599, &[("a", 2.0)], &[]),
            (3600, &[("a", 2.0)], &["=a"]),
            (3615, &[("a", 2.0)], &[]),
            (7200, &[("a", 2.0)], &["=a"]),
            (7215, &[("a", 1.0)], &["-a"]),
        ],
    );
}

#[test]
fn no_data_is_no_alert_and_a_series_that_is_gone_is_resolved() {
    check(rule(RuleKind::Value), &[(0, &[], &[]), (15, &[("a", 2.0)], &["+a"]), (30, &[], &["-a"]), (45, &[], &[])]);
    check(rule(RuleKind::Value), &[(0, &[("a", f64::NAN)], &[]), (15, &[("a", 2.0)], &["+a"]), (30, &[("a", f64::NAN)], &["-a"])]);
    let below = Rule { op: Operator::Below, threshold: 0.5, ..rule(RuleKind::Value) };
    check(below, &[(0, &[], &[]), (15, &[("a", 0.0)], &["+a"]), (30, &[], &["-a"])]);
}

#[test]
fn a_rate_is_one_alert_over_the_sum() {
    check(
        rule(RuleKind::Rate { window: Duration::from_secs(60) }),
        &[
            (0, &[("a", 1000.0), ("b", 0.0)], &[]),
            (15, &[("a", 1009.0), ("b", 6.0)], &[]),
            (30, &[("a", 1024.0), ("b", 17.0)], &["+"]),
            (45, &[("a", 1024.0), ("b", 17.0)], &["-"]),
        ],
    );
}

#[test]
fn a_rate_whose_series_are_gone_is_resolved() {
    let steps: &[Step<'_>] = &[(0, &[("a", 0.0)], &[]), (15, &[("a", 60.0)], &["+"]), (30, &[], &["-"])];
    check(rule(RuleKind::Rate { window: Duration::from_secs(60) }), steps);
}

#[test]
fn a_notification_tells_everything() {
    let mut evaluator = evaluator(rule(RuleKind::Value));
    let fired = evaluator.step(at(0), &failures(&[("a", 2.0)])).remove(0);
    let expected = Alert {
        name: "errors".to_owned(),
        state: AlertState::Firing,
        is_repeat: false,
        severity: "warning".to_owned(),
        summary: "tools fail".to_owned(),
        value: 2.0,
        threshold: 1.0,
        labels: [("outcome", "tool_error"), ("team", "tools"), ("tool", "a")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        started_at: at(0).wall,
        resolved_at: None,
        fingerprint: fired.fingerprint.clone(),
    };
    assert_eq!(fired, expected);
    assert_eq!(evaluator.firing(), [Alert { is_repeat: true, ..expected.clone() }]);
    assert_eq!(evaluator.firing_by_severity(), BTreeMap::from([("warning", 1)]));
    let over = evaluator.step(at(15), &failures(&[("a", 0.5)])).remove(0);
    assert_eq!(over, Alert { state: AlertState::Resolved, value: 0.5, resolved_at: Some(at(15).wall), ..expected });
    assert_eq!(evaluator.firing_by_severity(), BTreeMap::from([("warning", 0)]));
}

#[test]
fn a_rule_has_a_hundred_alerts_at_most_and_they_are_the_first() {
    let names: Vec<String> = (0..300).map(|index| format!("tool-{index:03}")).collect();
    let values: Vec<(&str, f64)> = names.iter().map(|name| (name.as_str(), 2.0)).collect();
    let mut evaluator = evaluator(rule(RuleKind::Value));
    assert_eq!(evaluator.step(at(0), &failures(&values[100..])).len(), MAX_ALERTS_PER_RULE);
    // Series that come later, though earlier in order, do not push out alerts that fire.
    assert_eq!(said(&evaluator.step(at(15), &failures(&values))), Vec::<String>::new());
    assert_eq!(evaluator.step(at(30), &failures(&[])).len(), MAX_ALERTS_PER_RULE);
}
