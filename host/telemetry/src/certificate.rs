//! One certificate's metrics. Its series are there as long as somebody holds the handle, or until it is retired.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use prometheus::IntGauge;

use crate::core::Core;
use crate::names::Label;
use crate::owner::Owner;
use crate::words::{CertificateReload, CounterByWord};

/// Certificates of all listeners and servers; those past it share `_other`.
pub(crate) const MOST_CERTIFICATES: usize = 1000;

/// The metrics of one certificate. Made by [`crate::Telemetry::certificate`]; dropping the last handle removes its series.
pub struct CertificateMetrics {
    core: Arc<Core>,
    owner: Arc<Owner>,
    name: Box<str>,
    not_after: OnceLock<IntGauge>,
    reloads: CounterByWord<CertificateReload>,
}

impl CertificateMetrics {
    pub(crate) fn new(core: Arc<Core>, owner: Arc<Owner>, values: [&str; 1]) -> Self {
        let [name] = values;
        let reloads = CounterByWord::new(|result| core.families.tls_reloads.with(&[name, result]));
        Self { name: name.into(), not_after: OnceLock::new(), reloads, owner, core }
    }

    /// When the certificate in use ends. There is no series before the first call.
    pub fn not_after(&self, end: SystemTime) {
        let since = end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let gauge = self.not_after.get_or_init(|| self.core.families.tls_cert_not_after.owned(&self.owner, &[&self.name]));
        gauge.set(i64::try_from(since).unwrap_or(i64::MAX));
    }

    /// Its files had changed and were read again.
    pub fn reloaded(&self, result: CertificateReload) {
        self.reloads.count(result);
    }

    /// Removes its series now, though handles may still be held: what they record from now on is shown to nobody. A handle asked
    /// for afterwards starts anew.
    pub fn retire(&self) {
        let values = [&*self.name];
        self.core.certificates.end(&values, &self.owner, || self.core.families.remove_under(&[Label::Name], &values));
    }
}

impl Drop for CertificateMetrics {
    fn drop(&mut self) {
        self.retire();
    }
}
