//! The trial calls of a new generation: what each kind must survive before traffic meets it.

use std::sync::Arc;

use watchgate_hooks::{AlertAction, FailureReason, HookFailure, MetricDerivation, PluginKind, RedactionPolicy, check_edits};

use crate::generation::Generation;
use crate::hooks::{Alerting, Derivation, Redaction};
use crate::refusal::{LoadCode, LoadError};
use crate::samples::{CORPUS, message, notification, operation};

/// Makes the trial calls, then throws every instance away that took part in them.
pub(crate) async fn run(generation: &Arc<Generation>) -> Result<(), LoadError> {
    for kind in generation.kinds() {
        match kind {
            PluginKind::Redaction => redact(generation).await?,
            PluginKind::Derivation => derive(generation).await?,
            PluginKind::Alerting => alert(generation).await?,
            PluginKind::Health => {}
        }
    }
    generation.renew().await.map_err(|failure| failed("a second start", &failure))
}

async fn redact(generation: &Arc<Generation>) -> Result<(), LoadError> {
    let policy = Redaction(Arc::clone(generation));
    for sample in &CORPUS {
        let reply = policy.redact(message(sample)).await.map_err(|failure| failed(sample.what, &failure))?;
        check_edits(&message(sample), reply.edits).map_err(|failure| failed(sample.what, &failure))?;
    }
    Ok(())
}

async fn derive(generation: &Arc<Generation>) -> Result<(), LoadError> {
    let derivation = Derivation(Arc::clone(generation));
    derivation.observe(operation()).await.map_err(|failure| failed("an operation", &failure))
}

async fn alert(generation: &Arc<Generation>) -> Result<(), LoadError> {
    match Alerting(Arc::clone(generation)).notify(notification()).await {
        Err(failure) if failure.reason != FailureReason::GuestError => Err(failed("an alert", &failure)),
        _ => Ok(()),
    }
}

fn failed(what: &str, failure: &HookFailure) -> LoadError {
    LoadError::new(LoadCode::TrialFailed, format!("it failed on {what}: {failure}"))
}
