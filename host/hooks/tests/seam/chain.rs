//! The chain: order, interest, triggers, and what denies.

use std::sync::Arc;

use watchgate_hooks::{
    ChainResult, Denial, DenyReason, Edit, FailureReason, HookFailure, Interest, Kind, Message, RedactionChain, Surface,
};
use watchgate_mcp::Direction;
use watchgate_telemetry::{Label, MetricName, label_values};

use crate::scripted::{Scripted, alone, chain, counted, counted_chain, deny, masking, message, pass, run, telemetry, triggers};

const BODY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get","arguments":{"key":"AKIA1"}}}"#;

fn denied(plugin: &str, reason: DenyReason, detail: &str) -> ChainResult {
    ChainResult::Denied(Denial { plugin: plugin.into(), reason, detail: detail.to_owned() })
}

fn changed(body: &str) -> ChainResult {
    ChainResult::Changed(body.to_owned().into(), None)
}

#[test]
fn an_empty_chain_wants_nothing_and_changes_nothing() {
    let chain = RedactionChain::empty();
    assert!(chain.is_empty());
    assert!(!chain.wants(Surface::Wire, Direction::ClientToServer, None, None));
    assert_eq!(run(&chain, message(Kind::Request, BODY)), ChainResult::Unchanged);
}

#[test]
fn policies_run_by_order_and_name_and_see_their_predecessors_output() {
    let policy = |name: &str, from, to| Scripted::new(name, Interest::default(), masking(from, to));
    let (third, first, second) = (policy("a", "three", "four"), policy("z", "AKIA1", "two"), policy("b", "two", "three"));
    let chain = counted_chain(&telemetry(), vec![(third.clone(), 1), (second.clone(), 0), (first.clone(), -5)]);
    assert_eq!(run(&chain, message(Kind::Request, BODY)), changed(&BODY.replace("AKIA1", "four")));
    assert_eq!(first.bodies(), [BODY]);
    assert_eq!(second.bodies(), [BODY.replace("AKIA1", "two")]);
    assert_eq!(third.bodies(), [BODY.replace("AKIA1", "three")]);

    let twins = ["b", "a"].map(|name| Scripted::new(name, Interest::default(), |_| deny("first")));
    assert_eq!(run(&self::chain(&twins), message(Kind::Request, BODY)), denied("a", DenyReason::Policy, "first"));
}

#[test]
fn a_denial_ends_the_chain() {
    let long = "\u{e9}".repeat(150);
    let refusing = Scripted::new("a", Interest::default(), move |_| deny(&long));
    let after = Scripted::new("b", Interest::default(), |_| pass(Vec::new()));
    let expected = denied("a", DenyReason::Policy, &"\u{e9}".repeat(100));
    assert_eq!(run(&chain(&[refusing, after.clone()]), message(Kind::Request, BODY)), expected);
    assert_eq!(after.bodies(), [""; 0]);
}

#[test]
fn every_failure_denies_with_its_reason() {
    for reason in FailureReason::ALL {
        let failing = Scripted::new("a", Interest::default(), move |_| Err(HookFailure::new(reason, "it failed")));
        let expected = denied("a", DenyReason::Failed(reason), "it failed");
        assert_eq!(run(&chain(&[failing]), message(Kind::Request, BODY)), expected);
        assert_eq!(DenyReason::Failed(reason).as_str(), reason.as_str());
    }
    let documented = label_values(MetricName::PluginFailures, Label::Reason).unwrap();
    assert_eq!(documented, FailureReason::ALL.map(FailureReason::as_str));
}

#[test]
fn calls_failures_and_denials_are_counted() {
    let telemetry = telemetry();
    let passing = Scripted::new("passing", Interest::default(), |_| pass(Vec::new()));
    let failing = Scripted::new("failing", triggers(&["trap"]), |_| Err(HookFailure::new(FailureReason::Trap, "")));
    let invalid = Scripted::new("invalid", triggers(&["nonsense"]), |_| pass(vec![Edit::SetBody("{".into())]));
    let refusing = Scripted::new("refusing", triggers(&["refuse"]), |_| deny("no"));
    let chain = counted_chain(&telemetry, vec![(passing, 0), (failing, 1), (invalid, 1), (refusing, 1)]);
    for word in ["trap", "nonsense", "refuse", "refuse", "nothing"] {
        run(&chain, message(Kind::Request, &BODY.replace("AKIA1", word)));
    }
    let calls = |plugin| counted(&telemetry, "watchgate_plugin_calls_total", &format!(r#"kind="redaction",plugin="{plugin}""#));
    assert_eq!(["passing", "failing", "invalid", "refusing"].map(calls), [5.0, 1.0, 1.0, 2.0]);
    let failures = |plugin, reason| {
        counted(&telemetry, "watchgate_plugin_failures_total", &format!(r#"kind="redaction",plugin="{plugin}",reason="{reason}""#))
    };
    assert_eq!([failures("failing", "trap"), failures("invalid", "invalid_output"), failures("refusing", "policy")], [1.0, 1.0, 0.0]);
    let denials = |plugin| counted(&telemetry, "watchgate_plugin_denials_total", &format!(r#"plugin="{plugin}""#));
    assert_eq!(["refusing", "failing"].map(denials), [2.0, 0.0]);
    let text = Message { surface: Surface::Telemetry, ..message(Kind::Fields, r#"{"text":"refuse"}"#) };
    assert!(matches!(run(&chain, text), ChainResult::Denied(_)));
    assert_eq!((calls("refusing"), denials("refusing")), (3.0, 2.0), "telemetry is no message");
}

/// Which of the policies `wire`, `to-client`, `list` and `tool` a message reaches.
fn check_interest(message: Message, expected: &[&str]) {
    let interests = [
        ("wire", Interest { surfaces: vec![Surface::Wire], ..Interest::default() }),
        ("to-client", Interest { directions: vec![Direction::ServerToClient], ..Interest::default() }),
        ("list", Interest { methods: vec!["tools/list".to_owned()], ..Interest::default() }),
        ("tool", Interest { tools: vec!["get".to_owned()], ..Interest::default() }),
    ];
    let policies = interests.map(|(name, interest)| Scripted::new(name, interest, |_| pass(Vec::new())));
    let chain = chain(&policies);
    let wanted = chain.wants(message.surface, message.direction, message.method.as_deref(), message.name.as_deref());
    let described = format!("{message:?}");
    assert_eq!(run(&chain, message), ChainResult::Unchanged);
    let reached: Vec<&str> = ["wire", "to-client", "list", "tool"]
        .into_iter()
        .zip(&policies)
        .filter(|(_, policy)| !policy.seen().is_empty())
        .map(|(name, _)| name)
        .collect();
    assert_eq!(reached, expected, "{described}");
    assert_eq!(wanted, !expected.is_empty(), "{described}");
}

#[test]
fn interest_decides_who_is_called() {
    let request = || message(Kind::Request, BODY);
    check_interest(request(), &["wire", "tool"]);
    check_interest(Message { name: Some("put".into()), ..request() }, &["wire"]);
    check_interest(Message { name: None, ..request() }, &["wire", "tool"]);
    check_interest(Message { method: Some("tools/list".into()), name: None, ..request() }, &["wire", "list"]);
    // What is not known matches.
    check_interest(Message { method: None, name: None, ..request() }, &["wire", "list", "tool"]);
    check_interest(Message { direction: Direction::ServerToClient, ..request() }, &["wire", "to-client", "tool"]);
    // Telemetry has no direction.
    check_interest(Message { surface: Surface::Telemetry, ..request() }, &["to-client", "tool"]);
    check_interest(
        Message { surface: Surface::Telemetry, name: Some("put".into()), method: Some("tools/call".into()), ..request() },
        &["to-client"],
    );
}

#[test]
fn triggers_decide_who_is_called() {
    let check = |body: &str, expected: usize| {
        let policy = Scripted::new("a", triggers(&["akia"]), |_| pass(Vec::new()));
        assert_eq!(run(&alone(&policy), message(Kind::Request, body)), ChainResult::Unchanged);
        assert_eq!(policy.bodies(), vec![body; expected]);
    };
    check(BODY, 1);
    check(&BODY.replace("AKIA", "aKiA"), 1);
    check(&BODY.replace("AKIA", r"\u0041KIA"), 1);
    check(&BODY.replace("AKIA", r"\/"), 1);
    check(&BODY.replace("AKIA", "clean"), 0);
    check(&BODY.replace("AKIA", r"C:\\Users\n"), 0);
}

#[test]
fn an_edit_can_pull_the_trigger_of_a_later_policy() {
    let writing = Scripted::new("a", Interest::default(), masking("AKIA1", "ghp_1"));
    let waiting = Scripted::new("b", triggers(&["ghp_"]), masking("ghp_1", "***"));
    assert_eq!(run(&chain(&[writing, waiting]), message(Kind::Request, BODY)), changed(&BODY.replace("AKIA1", "***")));
    let cleaning = Scripted::new("a", Interest::default(), masking("AKIA1", "clean"));
    let idle = Scripted::new("b", triggers(&["akia"]), |_| deny("called"));
    assert_eq!(run(&chain(&[cleaning, idle]), message(Kind::Request, BODY)), changed(&BODY.replace("AKIA1", "clean")));
}

#[test]
fn the_next_policy_is_asked_by_the_edited_name() {
    let renaming = || {
        let edit = Edit::SetJson { pointer: "/params/name".to_owned(), json: r#""put""#.to_owned() };
        Scripted::new("a", Interest::default(), move |_| pass(vec![edit.clone()]))
    };
    let wanting = |tool: &str| Scripted::new("b", Interest { tools: vec![tool.to_owned()], ..Interest::default() }, |_| pass(Vec::new()));
    let check = |later: Arc<Scripted>, expected: &[Option<&str>]| {
        assert_eq!(run(&chain(&[renaming(), later.clone()]), message(Kind::Request, BODY)), changed(&BODY.replace(r#""get""#, r#""put""#)));
        let seen = later.seen();
        assert_eq!(seen.iter().map(|message| message.name.as_deref()).collect::<Vec<_>>(), expected);
    };
    check(wanting("put"), &[Some("put")]);
    check(wanting("get"), &[]);
}

#[test]
fn every_policy_is_shown_the_whole_message() {
    let policies = ["a", "b"].map(|name| Scripted::new(name, Interest::default(), |_| pass(Vec::new())));
    assert_eq!(run(&chain(&policies), message(Kind::Request, BODY)), ChainResult::Unchanged);
    for policy in &policies {
        let [seen] = policy.seen().try_into().unwrap();
        assert_eq!((seen.method.as_deref(), seen.name.as_deref(), &*seen.server), (Some("tools/call"), Some("get"), "weather"));
    }
}
