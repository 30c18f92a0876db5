//! Runs the redaction policies over one message, in order. Failing is denying.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use watchgate_mcp::Direction;
use watchgate_telemetry::PluginHandles;

use crate::edit;
use crate::envelope_check;
use crate::failure::{FailureReason, HookFailure};
use crate::message::{Edit, Kind, Message, MirroredHeader, Reply, Surface, Verdict};
use crate::mirrored;
use crate::policy::{BoxFuture, RedactionPolicy};
use crate::status::PluginKind;
use crate::trigger::{PolicySet, Triggers};

/// How much of a denial's text is kept, in bytes.
const MAX_DETAIL_BYTES: usize = 200;

/// A policy and its place.
pub struct ChainedPolicy {
    /// The policy.
    pub policy: Arc<dyn RedactionPolicy>,
    /// Policies run by (`order`, name).
    pub order: i32,
    /// Where its calls are counted.
    pub handles: Arc<PluginHandles>,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainResult {
    /// It goes on as it came.
    Unchanged,
    /// It goes on with this body and, unless `None`, with these mirrored headers in place of all it had.
    Changed(Bytes, Option<Vec<MirroredHeader>>),
    /// It does not go on.
    Denied(Denial),
}

/// Who stopped a message, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The policy's name.
    pub plugin: Arc<str>,
    /// Decision or failure.
    pub reason: DenyReason,
    /// For operators only, at most 200 bytes of a decision; never for the peers.
    pub detail: String,
}

/// Why a message was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenyReason {
    /// The policy decided so, or its edit left a mirrored header that cannot be derived again.
    Policy,
    /// The policy failed.
    Failed(FailureReason),
}

impl DenyReason {
    /// The reason as a word for labels and logs: `policy`, or that of [`FailureReason::as_str`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Failed(reason) => reason.as_str(),
        }
    }
}

/// The redaction policies of one live set.
pub struct RedactionChain {
    links: Box<[Link]>,
    triggers: Triggers,
}

struct Link {
    name: Arc<str>,
    policy: Arc<dyn RedactionPolicy>,
    handles: Arc<PluginHandles>,
}

impl RedactionChain {
    /// A chain that lets everything pass.
    pub fn empty() -> Self {
        Self::new(Vec::new())
    }

    /// Sorts the policies by order and name, and prepares the search for all their triggers.
    pub fn new(mut policies: Vec<ChainedPolicy>) -> Self {
        policies.sort_by(|a, b| (a.order, a.policy.name()).cmp(&(b.order, b.policy.name())));
        let triggers = Triggers::new(policies.iter().map(|chained| chained.policy.interest().triggers.as_slice()));
        let link = |chained: ChainedPolicy| Link { name: chained.policy.name().into(), policy: chained.policy, handles: chained.handles };
        Self { links: policies.into_iter().map(link).collect(), triggers }
    }

    /// Whether there is no policy.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Whether a policy may want such a message, so that its body must be gathered. `None` stands for what is not known, and matches.
    pub fn wants(&self, surface: Surface, direction: Direction, method: Option<&str>, name: Option<&str>) -> bool {
        self.links.iter().any(|link| link.policy.interest().matches(surface, direction, method, name))
    }

    /// Shows the message to every policy that wants it, each one's output to the next.
    pub async fn run(&self, message: Message) -> ChainResult {
        self.run_noting(message, None).await
    }

    /// The same, and notes each call.
    pub async fn run_noting(&self, message: Message, mut calls: Option<&mut Vec<PolicyCall>>) -> ChainResult {
        let mut message = message;
        let (mut body_changed, mut headers_changed) = (false, false);
        // Found once for each body that the message has had.
        let mut triggered: Option<PolicySet> = None;
        for (place, link) in self.links.iter().enumerate() {
            let has_triggers = !link.policy.interest().triggers.is_empty();
            let wanted = link.matches(&message, message.name.as_deref())
                && (!has_triggers || triggered.get_or_insert_with(|| self.triggers.find(&message)).contains(place));
            if !wanted {
                continue;
            }
            // Asked without the name, because an edit may change it.
            let is_last = !self.links[place + 1..].iter().any(|later| later.matches(&message, None));
            let begun = Instant::now();
            let reply = link.call(&mut message, is_last).await;
            let duration = begun.elapsed();
            link.handles.called(PluginKind::Redaction.as_str(), duration);
            let result = link.settle(&message, reply);
            if let Some(calls) = &mut calls {
                let (plugin, outcome) = (link.name.clone(), CallOutcome::of(&result));
                calls.push(PolicyCall { plugin, begun: begun.into_std(), duration, outcome });
            }
            match result {
                Ok(None) => {}
                Ok(Some(edited)) => {
                    triggered = None;
                    body_changed = true;
                    headers_changed |= edited.headers.is_some();
                    edited.replace_in(&mut message);
                }
                Err(denial) => return ChainResult::Denied(denial),
            }
            if is_last {
                break;
            }
        }
        if !body_changed {
            return ChainResult::Unchanged;
        }
        ChainResult::Changed(message.body, headers_changed.then_some(message.headers))
    }
}

/// The body that these edits make of a message, `None` when it stays as it is.
///
/// # Errors
/// The edits break the contract: JSON stays JSON, and the envelope stays what it was.
pub fn check_edits(message: &Message, edits: Vec<Edit>) -> Result<Option<Bytes>, HookFailure> {
    let invalid = |error: &dyn std::error::Error| HookFailure::new(FailureReason::InvalidOutput, error.to_string());
    let body = edit::apply(&message.body, message.kind, edits).map_err(|error| invalid(&error))?;
    if body == message.body {
        return Ok(None);
    }
    envelope_check::check(message.kind, &message.body, &body).map_err(|error| invalid(&error))?;
    Ok(Some(body))
}

/// One policy's look at one message.
#[derive(Clone, Debug)]
pub struct PolicyCall {
    /// The plugin.
    pub plugin: Arc<str>,
    /// When it was called.
    pub begun: std::time::Instant,
    /// How long it took.
    pub duration: std::time::Duration,
    /// What it made of the message.
    pub outcome: CallOutcome,
}

/// What a policy made of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// Nothing.
    Unchanged,
    /// Another one.
    Changed,
    /// It denied it.
    Denied,
    /// It failed, and so the message was denied.
    Failed(FailureReason),
}

impl CallOutcome {
    /// The word for telemetry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::Denied => "denied",
            Self::Failed(_) => "failed",
        }
    }

    fn of(result: &Result<Option<Edited>, Denial>) -> Self {
        match result {
            Ok(None) => Self::Unchanged,
            Ok(Some(_)) => Self::Changed,
            Err(Denial { reason: DenyReason::Failed(reason), .. }) => Self::Failed(*reason),
            Err(_) => Self::Denied,
        }
    }
}

/// What a policy made of a message.
struct Edited {
    body: Bytes,
    headers: Option<Vec<MirroredHeader>>,
}

impl Edited {
    fn replace_in(self, message: &mut Message) {
        message.body = self.body;
        if let Some(headers) = self.headers {
            message.headers = headers;
        }
        // The next policy is asked by the name it would see.
        if let (Kind::Request, Some(method), Some(_)) = (message.kind, &message.method, &message.name)
            && watchgate_mcp::method::carries_name(method)
        {
            message.name = mirrored::name_of(&message.body, method);
        }
    }
}

/// A copy of `message` that takes method and name out of it. Body and headers are still needed to check what comes back.
fn moving_texts(message: &mut Message) -> Message {
    Message {
        body: message.body.clone(),
        kind: message.kind,
        direction: message.direction,
        surface: message.surface,
        server: message.server.clone(),
        method: message.method.take(),
        name: message.name.take(),
        headers: message.headers.clone(),
    }
}

impl Link {
    fn matches(&self, message: &Message, name: Option<&str>) -> bool {
        self.policy.interest().matches(message.surface, message.direction, message.method.as_deref(), name)
    }

    /// One call. The last policy that can want the message gets its texts instead of copies.
    fn call(&self, message: &mut Message, is_last: bool) -> BoxFuture<'_, Result<Reply, HookFailure>> {
        let shown = if is_last { moving_texts(message) } else { message.clone() };
        self.policy.redact(shown)
    }

    /// What a call comes to, with its edits checked and applied. `None`: nothing changed.
    fn settle(&self, message: &Message, reply: Result<Reply, HookFailure>) -> Result<Option<Edited>, Denial> {
        let reply = reply.map_err(|failure| self.failed(failure))?;
        let edits = match reply.verdict {
            Verdict::Deny(detail) => return Err(self.denied(message.surface, detail)),
            Verdict::Pass if reply.edits.is_empty() => return Ok(None),
            Verdict::Pass => reply.edits,
        };
        let edited = check_edits(message, edits).map_err(|failure| {
            self.policy.distrust();
            self.failed(failure)
        })?;
        let Some(body) = edited else { return Ok(None) };
        let headers =
            mirrored::derive(&message.body, &body, &message.headers).map_err(|error| self.denied(message.surface, error.to_string()))?;
        Ok(Some(Edited { body, headers }))
    }

    fn failed(&self, failure: HookFailure) -> Denial {
        self.handles.failed(PluginKind::Redaction.as_str(), failure.reason.as_str());
        Denial { plugin: self.name.clone(), reason: DenyReason::Failed(failure.reason), detail: failure.detail }
    }

    fn denied(&self, surface: Surface, mut detail: String) -> Denial {
        // Telemetry that is left out was no message that anybody waits for, and is counted as lost by who leaves it out.
        if surface == Surface::Wire {
            self.handles.denied();
        }
        detail.truncate(detail.floor_char_boundary(MAX_DETAIL_BYTES));
        Denial { plugin: self.name.clone(), reason: DenyReason::Policy, detail }
    }
}
