//! Texts leave as telemetry only as the policies let them.

use futures_util::FutureExt;
use watchgate_hooks::{
    ClearedRecord, FailureReason, HookFailure, Interest, Kind, Message, RedactionChain, Reply, Surface, UnclearedRecord, clear,
};
use watchgate_mcp::Direction;

use crate::scripted::{Scripted, alone, chain, deny, masking, pass};

fn record() -> UnclearedRecord {
    UnclearedRecord {
        server: "weather".into(),
        direction: Direction::ClientToServer,
        method: Some("tools/call".into()),
        name: Some("get".into()),
        fields: vec![("request", "an \"AKIA1\" key".to_owned()), ("name", "get".to_owned())],
    }
}

fn cleared(chain: &RedactionChain) -> Option<Vec<(&'static str, String)>> {
    match clear(chain, record()).now_or_never().unwrap() {
        ClearedRecord::Fields(fields) => Some(fields.into_iter().map(|(field, text)| (field, text.into_string())).collect()),
        ClearedRecord::Denied | ClearedRecord::Failed => None,
    }
}

fn fields(request: &str) -> Option<Vec<(&'static str, String)>> {
    Some(vec![("request", request.to_owned()), ("name", "get".to_owned())])
}

#[test]
fn a_record_is_shown_once_as_an_object_of_fields() {
    let policy = Scripted::new("a", Interest::default(), masking("AKIA1", "***"));
    assert_eq!(cleared(&alone(&policy)), fields("an \"***\" key"));
    assert_eq!(policy.bodies(), [r#"{"request":"an \"AKIA1\" key","name":"get"}"#]);
    let seen = policy.seen().remove(0);
    assert_eq!((seen.surface, seen.kind), (Surface::Telemetry, Kind::Fields));
}

#[test]
fn without_a_policy_for_telemetry_texts_pass() {
    assert_eq!(cleared(&RedactionChain::empty()), fields("an \"AKIA1\" key"));
    let wire = Interest { surfaces: vec![Surface::Wire], ..Interest::default() };
    assert_eq!(cleared(&chain(&[Scripted::new("a", wire, |_| deny("called"))])), fields("an \"AKIA1\" key"));
    assert_eq!(cleared(&chain(&[Scripted::new("a", Interest::default(), |_| pass(Vec::new()))])), fields("an \"AKIA1\" key"));
}

#[test]
fn denials_and_failures_let_nothing_out() {
    fn check(answer: impl Fn(&Message) -> Result<Reply, HookFailure> + Send + Sync + 'static, expected: ClearedRecord) {
        let chain = chain(&[Scripted::new("a", Interest::default(), answer)]);
        assert_eq!(clear(&chain, record()).now_or_never().unwrap(), expected);
    }
    check(|_| deny("no"), ClearedRecord::Denied);
    check(|_| Err(HookFailure::new(FailureReason::CpuTimeout, "slow")), ClearedRecord::Failed);
    check(masking("request", "x"), ClearedRecord::Failed);
}
