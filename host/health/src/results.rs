//! The newest result of every check.

use std::collections::BTreeMap;
use std::time::SystemTime;

use parking_lot::Mutex;
use watchgate_hooks::unix_ms;

use crate::check::{Check, CheckKind, CheckStatus, Finding};

/// Longer details are cut: they come from plugins and servers.
const MAX_DETAIL: usize = 1024;

/// All checks by kind and name. Locked for a map operation only.
#[derive(Default)]
pub(crate) struct Results {
    checks: Mutex<BTreeMap<(CheckKind, String), Check>>,
}

impl Results {
    /// A check exists from now on. If it existed before (a new generation of a plugin), its last result stands until there is a new one.
    pub fn open(&self, kind: CheckKind, name: &str, now: SystemTime) {
        let mut checks = self.checks.lock();
        let check = checks.entry((kind, name.to_owned())).or_insert_with(|| Check {
            name: name.to_owned(),
            kind,
            status: CheckStatus::Unknown,
            detail: "not checked yet".to_owned(),
            since_ms: unix_ms(now),
            checked_at_ms: None,
            unknown_in_a_row: 0,
        });
        check.unknown_in_a_row = 0;
    }

    /// The check has run. Returns the status before, for a check that was opened and not closed.
    pub fn finish(&self, kind: CheckKind, name: &str, finding: Finding, now: SystemTime) -> Option<CheckStatus> {
        let mut checks = self.checks.lock();
        let check = checks.get_mut(&(kind, name.to_owned()))?;
        let before = check.status;
        if before != finding.status {
            check.since_ms = unix_ms(now);
        }
        check.unknown_in_a_row = if finding.status == CheckStatus::Unknown { check.unknown_in_a_row.saturating_add(1) } else { 0 };
        check.status = finding.status;
        check.detail = finding.detail;
        check.detail.truncate(check.detail.floor_char_boundary(MAX_DETAIL));
        check.checked_at_ms = Some(unix_ms(now));
        Some(before)
    }

    /// The check is gone.
    pub fn close(&self, kind: CheckKind, name: &str) {
        self.checks.lock().remove(&(kind, name.to_owned()));
    }

    /// All checks, by kind and name.
    pub fn all(&self) -> Vec<Check> {
        self.checks.lock().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    /// The check after the given findings, the first at second 1.
    fn check(findings: &[CheckStatus]) -> Check {
        let results = Results::default();
        results.open(CheckKind::Plugin, "tools", at(0));
        for (second, status) in (1..).zip(findings) {
            results.finish(CheckKind::Plugin, "tools", Finding::new(*status, "x"), at(second));
        }
        results.all().remove(0)
    }

    #[test]
    fn since_is_when_the_status_changed() {
        assert_eq!((check(&[]).since_ms, check(&[]).checked_at_ms), (0, None));
        let ok = check(&[CheckStatus::Ok, CheckStatus::Ok, CheckStatus::Ok]);
        assert_eq!((ok.status, ok.since_ms, ok.checked_at_ms), (CheckStatus::Ok, 1000, Some(3000)));
        let changed = check(&[CheckStatus::Ok, CheckStatus::Failing, CheckStatus::Failing]);
        assert_eq!((changed.status, changed.since_ms), (CheckStatus::Failing, 2000));
    }

    #[test]
    fn not_knowing_is_counted_until_something_is_known() {
        use CheckStatus::{Ok, Unknown};
        assert_eq!(check(&[Unknown, Unknown]).unknown_in_a_row, 2);
        assert_eq!(check(&[Unknown, Unknown, Ok]).unknown_in_a_row, 0);
        assert_eq!(check(&[Ok, Unknown]).unknown_in_a_row, 1);
    }

    #[test]
    fn a_late_result_of_a_closed_check_is_not_taken() {
        let results = Results::default();
        results.open(CheckKind::Plugin, "tools", at(0));
        results.close(CheckKind::Plugin, "tools");
        assert_eq!(results.finish(CheckKind::Plugin, "tools", Finding::new(CheckStatus::Ok, ""), at(1)), None);
        assert_eq!(results.all(), []);
    }

    #[test]
    fn long_details_are_cut_between_characters() {
        let results = Results::default();
        results.open(CheckKind::Plugin, "tools", at(0));
        results.finish(CheckKind::Plugin, "tools", Finding::new(CheckStatus::Ok, "ä".repeat(5000)), at(1));
        assert_eq!(results.all()[0].detail, "ä".repeat(512));
        results.finish(CheckKind::Plugin, "tools", Finding::new(CheckStatus::Ok, format!("x{}", "ä".repeat(5000))), at(1));
        assert_eq!(results.all()[0].detail.len(), 1023);
    }
}
