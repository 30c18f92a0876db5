//! Headers that mirror the body follow an edit, or the message is denied.

use watchgate_hooks::{ChainResult, DenyReason, Edit, Interest, Kind, Message, MirroredHeader};

use crate::scripted::{Scripted, alone, chain, masking, message, run};

const BODY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get","arguments":{"key":"AKIA1","other":"x","n":[{"deep":12.50}],"twin":["same"],"twins":"same"}}}"#;

fn headers(pairs: &[(&str, &str)]) -> Vec<MirroredHeader> {
    pairs.iter().map(|(name, value)| MirroredHeader { name: (*name).into(), value: (*value).into() }).collect()
}

fn mask(found: &'static str) -> impl Fn(&Message) -> Vec<Edit> {
    move |message| masking(found, "***")(message).unwrap().edits
}

fn set(pointer: &'static str, json: &'static str) -> impl Fn(&Message) -> Vec<Edit> {
    move |_| vec![Edit::SetJson { pointer: pointer.to_owned(), json: json.to_owned() }]
}

/// The headers after an edit; `None` when the message is denied.
fn check(edit: impl Fn(&Message) -> Vec<Edit> + Send + Sync + 'static, before: &[(&str, &str)], after: Option<&[(&str, &str)]>) {
    let policy = Scripted::new("a", Interest::default(), move |message| crate::scripted::pass(edit(message)));
    let message = Message { headers: headers(before), ..message(Kind::Request, BODY) };
    match run(&chain(&[policy]), message) {
        ChainResult::Changed(_, derived) => {
            let derived = derived.unwrap_or_else(|| headers(before));
            assert_eq!(Some(derived), after.map(headers), "{before:?}");
        }
        ChainResult::Denied(denial) => {
            assert_eq!(denial.reason, DenyReason::Policy);
            assert_eq!(after, None, "{}", denial.detail);
            assert!(!denial.detail.contains("AKIA1"), "{}", denial.detail);
        }
        ChainResult::Unchanged => panic!("the policy edits"),
    }
}

#[test]
fn headers_follow_the_value_they_mirror() {
    check(mask("AKIA1"), &[("mcp-name", "get"), ("mcp-param-key", "AKIA1")], Some(&[("mcp-name", "get"), ("mcp-param-key", "***")]));
    check(mask("IA"), &[("mcp-param-key", "AKIA1")], Some(&[("mcp-param-key", "AK***1")]));
    check(mask("get"), &[("mcp-name", "get"), ("mcp-param-x", "x")], Some(&[("mcp-name", "***"), ("mcp-param-x", "x")]));
    check(set("/params/arguments/n/0/deep", "true"), &[("mcp-param-deep", "12.50")], Some(&[("mcp-param-deep", "true")]));
    check(set("/params/arguments/other", r#""\u00e9""#), &[("mcp-param-x", "x")], Some(&[("mcp-param-x", "\u{e9}")]));
}

#[test]
fn headers_of_untouched_values_stay() {
    check(mask("AKIA1"), &[("mcp-param-x", "x"), ("mcp-param-twin", "same")], Some(&[("mcp-param-x", "x"), ("mcp-param-twin", "same")]));
    check(mask("AKIA1"), &[], Some(&[]));
    // Not a value of this body, but nothing it could mirror has changed.
    check(
        set("/id", "1.0"),
        &[("mcp-name", "unknown"), ("mcp-param-z", "unknown")],
        Some(&[("mcp-name", "unknown"), ("mcp-param-z", "unknown")]),
    );
}

#[test]
fn what_cannot_be_derived_is_denied() {
    // Two values equal the header, and only one changed.
    check(set("/params/arguments/twins", r#""new""#), &[("mcp-param-twin", "same")], None);
    // Both changed alike: no doubt.
    check(mask("same"), &[("mcp-param-twin", "same")], Some(&[("mcp-param-twin", "***")]));
    // The place is gone, or holds nothing a header can say.
    check(set("/params/arguments", "{}"), &[("mcp-param-key", "AKIA1")], None);
    check(set("/params/arguments/key", "null"), &[("mcp-param-key", "AKIA1")], None);
    check(set("/params/arguments/key", "[]"), &[("mcp-param-key", "AKIA1")], None);
    check(set("/params", "{}"), &[("mcp-name", "get")], None);
    // What the header mirrors is unknown, and the parameters changed.
    check(mask("AKIA1"), &[("mcp-param-key", "Bearer AKIA1")], None);
    check(mask("AKIA1"), &[("mcp-name", "AKIA1")], None);
}

#[test]
fn the_next_policy_sees_the_derived_header() {
    let first = Scripted::new("a", Interest::default(), masking("AKIA1", "ghp_2"));
    let second = Scripted::new("b", crate::scripted::triggers(&["ghp_"]), masking("ghp_2", "***"));
    let message = Message { headers: headers(&[("mcp-param-key", "AKIA1")]), ..message(Kind::Request, BODY) };
    let result = run(&chain(&[first, second.clone()]), message);
    assert_eq!(second.seen()[0].headers, headers(&[("mcp-param-key", "ghp_2")]));
    assert_eq!(result, ChainResult::Changed(BODY.replace("AKIA1", "***").into(), Some(headers(&[("mcp-param-key", "***")]))));
}

#[test]
fn arguments_nested_too_deep_to_follow_are_denied() {
    let deep = format!("{}\"x\"{}", "[".repeat(2000), "]".repeat(2000));
    let body = BODY.replace(r#""x""#, &deep);
    let policy = Scripted::new("a", Interest::default(), masking("AKIA1", "***"));
    let with = |pairs| Message { headers: headers(pairs), ..message(Kind::Request, &body) };
    assert!(matches!(run(&alone(&policy), with(&[("mcp-param-key", "AKIA1")])), ChainResult::Denied(_)));
    assert!(matches!(run(&chain(&[policy]), with(&[])), ChainResult::Changed(..)));
}
