//! Answers that are overtaken while they come: by a policy that goes, and by another request of their session.

use watchgate_hooks::HookSet;
use watchgate_proxy::ProxyConfig;
use watchgate_tests::{Gate, Scripted, wait_until};

use crate::rig::{CALL, Conditions, Rig, check_fault, config, server};

/// In front of one server, with policies expected; nobody asks the server besides clients.
fn guarded(upstream: &Scripted) -> Rig {
    let config = ProxyConfig { expects_policies: true, ..config(vec![server(&[upstream.address()])]) };
    Rig::under(Conditions { without_housekeeping: true, ..Conditions::default() }, config)
}

/// The policy is required, and gone.
fn lose_policy(rig: &Rig) {
    rig.live.swap(HookSet { missing_required: vec!["hand".to_owned()], ..HookSet::empty() });
}

#[test]
fn an_answer_does_not_pass_when_a_required_policy_goes_while_it_comes() {
    let go_on = Gate::default();
    let goes_on = go_on.clone();
    let upstream = Scripted::start(move |exchange| {
        exchange.chunked(200, &[("Content-Type", "application/json")])?;
        exchange.chunk(format!("{{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{{\"text\":\"{}", "x".repeat(100 << 10)))?;
        goes_on.wait("the rest may come");
        exchange.chunk("SECRET\"}}")?;
        exchange.end()
    });
    let rig = guarded(&upstream);
    rig.go_live();
    let mut asked = rig.open(&[], CALL);
    wait_until("the proxy holds the beginning", || (rig.metrics().metric("watchgate_held_bytes", &[]) > 0.0).then_some(()));
    lose_policy(&rig);
    go_on.open();
    check_fault(&asked.reply().unwrap(), 503, -31005, "required_plugin_not_live");
}

#[test]
fn an_event_does_not_pass_when_a_required_policy_has_gone_since_the_one_before() {
    let go_on = Gate::default();
    let goes_on = go_on.clone();
    let upstream = Scripted::start(move |exchange| {
        exchange.event_stream()?;
        exchange.chunk("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n")?;
        goes_on.wait("the rest may come");
        exchange.chunk("data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"text\":\"SECRET\"}}\n\n")?;
        exchange.end()
    });
    let rig = guarded(&upstream);
    rig.go_live();
    let mut asked = rig.open(&[], CALL);
    asked.head().unwrap();
    asked.body_until("\n\n").unwrap();
    lose_policy(&rig);
    go_on.open();
    assert!(asked.body().is_err(), "the stream is cut");
}

/// Servers may answer on any stream of a session, so an id alone says whose an answer is.
#[test]
fn an_answer_is_shown_to_every_policy_that_either_of_two_requests_with_its_id_concerns() {
    let upstream = Scripted::start(|exchange| {
        exchange.event_stream()?;
        if exchange.request.body.windows(10).any(|word| word == b"tools/call") {
            return exchange.client_left().map(drop);
        }
        exchange.chunk("data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"text\":\"a SECRET\"}}\n\n")?;
        exchange.end()
    });
    let rig = guarded(&upstream);
    rig.go_live_for("tools/call");
    let session = [("Mcp-Session-Id", "s")];
    let complete = || rig.post_with(&session, r#"{"jsonrpc":"2.0","id":7,"method":"completion/complete"}"#).text();
    assert!(complete().contains("a SECRET"), "the policy wants nothing of it");
    let mut call = rig.open(&session, CALL);
    call.head().unwrap();
    assert!(complete().contains("a ***"), "it may be the answer to the call");
    drop(call);
    let metric = || rig.metrics().metric("watchgate_mcp_tool_calls_total", &[]);
    wait_until("the call is over", || (metric() == 1.0).then_some(()));
    assert!(complete().contains("a SECRET"));
}

#[test]
fn a_call_that_is_answered_by_something_else_ends_with_it() {
    for (status, kind) in [(200, "text/html"), (200, "application/json"), (204, "text/html")] {
        let upstream = Scripted::start(move |exchange| exchange.respond(status, &[("Content-Type", kind)], b""));
        let rig = guarded(&upstream);
        assert_eq!(rig.post_with(&[("Mcp-Session-Id", "s")], CALL).status(), status);
        rig.wait_for("watchgate_mcp_tool_calls_total", &[("outcome", "aborted")], 1.0);
    }
}
