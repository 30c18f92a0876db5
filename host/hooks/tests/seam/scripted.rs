//! Policies and messages for the tests.

use std::sync::Arc;

use futures_util::FutureExt;
use parking_lot::Mutex;
use watchgate_hooks::{
    BoxFuture, ChainResult, ChainedPolicy, Edit, HookFailure, Interest, Kind, Message, RedactionChain, RedactionPolicy, Reply, Surface,
    Verdict,
};
use watchgate_mcp::Direction;
use watchgate_telemetry::{Telemetry, TelemetryConfig};

type Script = dyn Fn(&Message) -> Result<Reply, HookFailure> + Send + Sync;

/// A policy that answers by a function and remembers what it was shown.
pub struct Scripted {
    name: String,
    interest: Interest,
    answer: Box<Script>,
    seen: Mutex<Vec<Message>>,
}

impl Scripted {
    pub fn new(
        name: &str,
        interest: Interest,
        answer: impl Fn(&Message) -> Result<Reply, HookFailure> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), interest, answer: Box::new(answer), seen: Mutex::default() })
    }

    /// Wants everything and makes these edits.
    pub fn editing(edits: Vec<Edit>) -> Arc<Self> {
        Self::new("editor", Interest::default(), move |_| pass(edits.clone()))
    }

    /// The bodies it was shown.
    pub fn bodies(&self) -> Vec<String> {
        self.seen.lock().iter().map(|message| String::from_utf8_lossy(&message.body).into_owned()).collect()
    }

    /// The messages it was shown.
    pub fn seen(&self) -> Vec<Message> {
        self.seen.lock().clone()
    }
}

impl RedactionPolicy for Scripted {
    fn name(&self) -> &str {
        &self.name
    }

    fn interest(&self) -> &Interest {
        &self.interest
    }

    fn redact(&self, message: Message) -> BoxFuture<'_, Result<Reply, HookFailure>> {
        let answer = (self.answer)(&message);
        self.seen.lock().push(message);
        Box::pin(std::future::ready(answer))
    }
}

pub fn pass(edits: Vec<Edit>) -> Result<Reply, HookFailure> {
    Ok(Reply { verdict: Verdict::Pass, edits })
}

pub fn deny(reason: &str) -> Result<Reply, HookFailure> {
    Ok(Reply { verdict: Verdict::Deny(reason.to_owned()), edits: Vec::new() })
}

/// Masks each occurrence of `secret` in the body.
pub fn masking(secret: &'static str, replacement: &'static str) -> impl Fn(&Message) -> Result<Reply, HookFailure> + Send + Sync {
    move |message| {
        let body = String::from_utf8(message.body.to_vec()).unwrap();
        let mask = |(start, found): (usize, &str)| Edit::Mask { start, end: start + found.len(), replacement: replacement.to_owned() };
        pass(body.match_indices(secret).map(mask).collect())
    }
}

pub fn triggers(triggers: &[&str]) -> Interest {
    Interest { triggers: triggers.iter().map(|trigger| (*trigger).to_owned()).collect(), ..Interest::default() }
}

/// A telemetry of the test's own.
pub fn telemetry() -> Arc<Telemetry> {
    Telemetry::new(TelemetryConfig { servers: vec!["weather".to_owned()], ..TelemetryConfig::default() }).unwrap()
}

/// A chain of policies that all have order 0.
pub fn chain(policies: &[Arc<Scripted>]) -> RedactionChain {
    counted_chain(&telemetry(), policies.iter().map(|policy| (policy.clone(), 0)).collect())
}

/// A chain of one policy.
pub fn alone(policy: &Arc<Scripted>) -> RedactionChain {
    chain(std::slice::from_ref(policy))
}

pub fn counted_chain(telemetry: &Telemetry, policies: Vec<(Arc<Scripted>, i32)>) -> RedactionChain {
    let chained = |(policy, order): (Arc<Scripted>, i32)| ChainedPolicy { handles: telemetry.plugin(policy.name()), policy, order };
    RedactionChain::new(policies.into_iter().map(chained).collect())
}

/// A `tools/call` request from the client, or whatever else `body` is.
pub fn message(kind: Kind, body: &str) -> Message {
    Message {
        body: body.to_owned().into(),
        kind,
        direction: Direction::ClientToServer,
        surface: Surface::Wire,
        server: "weather".into(),
        method: Some("tools/call".into()),
        name: Some("get".into()),
        headers: Vec::new(),
    }
}

/// Scripted policies never wait.
pub fn run(chain: &RedactionChain, message: Message) -> ChainResult {
    chain.run(message).now_or_never().unwrap()
}

/// The value of one series, 0 when it is absent.
pub fn counted(telemetry: &Telemetry, name: &str, labels: &str) -> f64 {
    let text = telemetry.render_prometheus();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}{{{labels}}} ")));
    line.map_or(0.0, |value| value.parse().unwrap())
}
