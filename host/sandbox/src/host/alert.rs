//! `watchgate:plugin/alerts`: the notification that `notify` is lent.

use serde_json::json;
use wasmtime::component::Resource;
use watchgate_hooks::{Alert, AlertState, unix_ms};

use super::{LentAlert, Loan, NotLent};
use crate::bindings::watchgate::plugin::alerts as wit;
use crate::state::State;

type Lent = Resource<LentAlert>;

impl State {
    fn alert(&mut self) -> wasmtime::Result<&Alert> {
        self.count_host_call()?;
        match &self.loan {
            Loan::Alert(alert) => Ok(alert),
            _ => Err(wasmtime::Error::new(NotLent("alert"))),
        }
    }
}

impl wit::Host for State {}

impl wit::HostAlert for State {
    fn name(&mut self, _: Lent) -> wasmtime::Result<String> {
        Ok(self.alert()?.name.clone())
    }

    fn state(&mut self, _: Lent) -> wasmtime::Result<String> {
        Ok(word(self.alert()?.state).to_owned())
    }

    fn is_repeat(&mut self, _: Lent) -> wasmtime::Result<bool> {
        Ok(self.alert()?.is_repeat)
    }

    fn severity(&mut self, _: Lent) -> wasmtime::Result<String> {
        Ok(self.alert()?.severity.clone())
    }

    fn summary(&mut self, _: Lent) -> wasmtime::Result<String> {
        Ok(self.alert()?.summary.clone())
    }

    fn value(&mut self, _: Lent) -> wasmtime::Result<f64> {
        Ok(self.alert()?.value)
    }

    fn threshold(&mut self, _: Lent) -> wasmtime::Result<f64> {
        Ok(self.alert()?.threshold)
    }

    fn labels(&mut self, _: Lent) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.alert()?.labels.clone())
    }

    fn started_at_ms(&mut self, _: Lent) -> wasmtime::Result<u64> {
        Ok(unix_ms(self.alert()?.started_at))
    }

    fn resolved_at_ms(&mut self, _: Lent) -> wasmtime::Result<Option<u64>> {
        Ok(self.alert()?.resolved_at.map(unix_ms))
    }

    fn fingerprint(&mut self, _: Lent) -> wasmtime::Result<String> {
        Ok(self.alert()?.fingerprint.clone())
    }

    fn json(&mut self, _: Lent) -> wasmtime::Result<String> {
        Ok(as_json(self.alert()?))
    }

    fn drop(&mut self, _: Lent) -> wasmtime::Result<()> {
        Ok(())
    }
}

fn word(state: AlertState) -> &'static str {
    match state {
        AlertState::Firing => "firing",
        AlertState::Resolved => "resolved",
    }
}

/// The alert with the getters' names as keys. A value that JSON cannot say (not a number, infinite) is null.
fn as_json(alert: &Alert) -> String {
    let labels: serde_json::Map<_, _> = alert.labels.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({
        "name": alert.name,
        "state": word(alert.state),
        "is_repeat": alert.is_repeat,
        "severity": alert.severity,
        "summary": alert.summary,
        "value": alert.value,
        "threshold": alert.threshold,
        "labels": labels,
        "started_at_ms": unix_ms(alert.started_at),
        "resolved_at_ms": alert.resolved_at.map(unix_ms),
        "fingerprint": alert.fingerprint,
    })
    .to_string()
}
