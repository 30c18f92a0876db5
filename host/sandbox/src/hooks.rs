//! The four traits of `hooks` for a generation: one small type each, all holding the same generation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use watchgate_hooks::{
    Alert, AlertAction, BoxFuture, EditDraft, FailureReason, HealthCheck, HealthReport, HookFailure, Interest, Message, MetricDerivation,
    Operation, PluginKind, RedactionPolicy, Reply, Verdict,
};

use crate::exports::{Answer, Ask};
use crate::failure::cut;
use crate::generation::Generation;
use crate::host::Loan;

/// Bytes kept of the reason of a denial.
const DENIAL_BYTES: usize = 200;

/// A generation as redaction policy.
pub(crate) struct Redaction(pub(crate) Arc<Generation>);

impl RedactionPolicy for Redaction {
    fn name(&self) -> &str {
        &self.0.plugin.name
    }

    fn interest(&self) -> &Interest {
        self.0.interest()
    }

    fn redact(&self, message: Message) -> BoxFuture<'_, Result<Reply, HookFailure>> {
        Box::pin(async move {
            let edits = EditDraft::new(message.body.clone(), message.kind);
            let answer = self.0.call(PluginKind::Redaction, Ask::Redact, Loan::Message { message, edits }).await?;
            match answer {
                (Answer::Verdict(Verdict::Pass), Loan::Message { edits, .. }) => {
                    Ok(Reply { verdict: Verdict::Pass, edits: edits.into_edits() })
                }
                (Answer::Verdict(Verdict::Deny(mut reason)), _) => {
                    reason.truncate(reason.floor_char_boundary(DENIAL_BYTES));
                    Ok(Reply { verdict: Verdict::Deny(reason), edits: Vec::new() })
                }
                _ => Err(no_such_answer()),
            }
        })
    }

    fn distrust(&self) {
        self.0.distrust();
    }
}

/// A generation as metric derivation.
pub(crate) struct Derivation(pub(crate) Arc<Generation>);

impl MetricDerivation for Derivation {
    fn name(&self) -> &str {
        &self.0.plugin.name
    }

    fn keeps_text(&self) -> bool {
        self.0.keeps_text()
    }

    fn collect_interval(&self) -> Option<Duration> {
        self.0.collects().then_some(self.0.plugin.settings.collect_interval)
    }

    fn observe(&self, mut operation: Operation) -> BoxFuture<'_, Result<(), HookFailure>> {
        if !self.0.keeps_text() {
            // Kept for somebody else.
            (operation.request_text, operation.response_text) = (None, None);
        }
        Box::pin(self.0.derive(Ask::Observe, Loan::Operation(Box::new(operation))))
    }

    fn collect(&self) -> BoxFuture<'_, Result<(), HookFailure>> {
        Box::pin(self.0.derive(Ask::Collect, Loan::Nothing))
    }
}

/// A generation as health check.
pub(crate) struct Health(pub(crate) Arc<Generation>);

impl HealthCheck for Health {
    fn name(&self) -> &str {
        &self.0.plugin.name
    }

    fn interval(&self) -> Duration {
        self.0.plugin.settings.health_interval
    }

    fn check(&self) -> BoxFuture<'_, Result<HealthReport, HookFailure>> {
        Box::pin(counted(&self.0, PluginKind::Health, async {
            match self.0.call(PluginKind::Health, Ask::Check, Loan::Nothing).await? {
                (Answer::Report(report), _) => Ok(HealthReport { detail: cut(report.detail), ..report }),
                _ => Err(no_such_answer()),
            }
        }))
    }
}

/// A generation as alert action.
pub(crate) struct Alerting(pub(crate) Arc<Generation>);

impl AlertAction for Alerting {
    fn name(&self) -> &str {
        &self.0.plugin.name
    }

    fn notify(&self, alert: Alert) -> BoxFuture<'_, Result<(), HookFailure>> {
        Box::pin(counted(&self.0, PluginKind::Alerting, async {
            match self.0.call(PluginKind::Alerting, Ask::Notify, Loan::Alert(Box::new(alert))).await? {
                (Answer::Done(Ok(())), _) => Ok(()),
                (Answer::Done(Err(reason)), _) => Err(HookFailure::new(FailureReason::GuestError, cut(reason))),
                _ => Err(no_such_answer()),
            }
        }))
    }
}

/// Counts a call and its failure, unless it is a trial. The chain and the queue of `hooks` do so for the two other kinds.
async fn counted<T>(
    generation: &Generation,
    kind: PluginKind,
    call: impl Future<Output = Result<T, HookFailure>>,
) -> Result<T, HookFailure> {
    let began = Instant::now();
    let result = call.await;
    if !generation.plugin.is_live() {
        return result;
    }
    let handles = &generation.plugin.handles;
    handles.called(kind.as_str(), began.elapsed());
    if let Err(failure) = &result {
        handles.failed(kind.as_str(), failure.reason.as_str());
    }
    result
}

/// Every question has one kind of answer, so this is never seen.
fn no_such_answer() -> HookFailure {
    HookFailure::new(FailureReason::InvalidOutput, "the answer does not fit the question")
}
