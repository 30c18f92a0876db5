//! A redaction policy written by hand, and how it goes live.

use std::sync::Arc;

use watchgate_hooks::{
    BoxFuture, ChainedPolicy, Edit, FailureReason, HookFailure, HookSet, Interest, Message, RedactionChain, RedactionPolicy, Reply, Verdict,
};
use watchgate_telemetry::Telemetry;

use crate::rig::Rig;

type Judge = Box<dyn Fn(&Message) -> Result<Reply, HookFailure> + Send + Sync>;

/// A policy that is a closure.
struct Policy {
    interest: Interest,
    judge: Judge,
}

impl RedactionPolicy for Policy {
    fn name(&self) -> &str {
        "hand"
    }

    fn interest(&self) -> &Interest {
        &self.interest
    }

    fn redact(&self, message: Message) -> BoxFuture<'_, Result<Reply, HookFailure>> {
        let reply = (self.judge)(&message);
        Box::pin(async move { reply })
    }
}

/// Denies messages whose body holds `DENY`, fails on `FAIL`, and writes `***` over each `SECRET` by replacing the body.
fn judge(message: &Message) -> Result<Reply, HookFailure> {
    let text = String::from_utf8_lossy(&message.body).into_owned();
    if text.contains("FAIL") {
        return Err(HookFailure::new(FailureReason::Trap, "as asked"));
    }
    if text.contains("DENY") {
        return Ok(Reply { verdict: Verdict::Deny("as asked".into()), edits: Vec::new() });
    }
    let edits = if text.contains("SECRET") { vec![Edit::SetBody(text.replace("SECRET", "***").into())] } else { Vec::new() };
    Ok(Reply { verdict: Verdict::Pass, edits })
}

/// [`judge`] and nothing else.
pub fn hook_set(telemetry: &Telemetry) -> HookSet {
    hook_set_for(telemetry, Interest::default())
}

/// [`judge`], which wants these messages.
fn hook_set_for(telemetry: &Telemetry, interest: Interest) -> HookSet {
    let policy = Arc::new(Policy { interest, judge: Box::new(judge) });
    let chained = ChainedPolicy { policy, order: 0, handles: telemetry.plugin("hand") };
    HookSet { redaction: RedactionChain::new(vec![chained]), ..HookSet::empty() }
}

impl Rig {
    /// Makes [`judge`] live.
    pub fn go_live(&self) {
        self.live.swap(hook_set(&self.telemetry));
    }

    /// Makes [`judge`] live for what is called and answered by one method.
    pub fn go_live_for(&self, method: &str) {
        self.live.swap(hook_set_for(&self.telemetry, Interest { methods: vec![method.to_owned()], ..Interest::default() }));
    }
}
