//! What all checks together mean: readiness and the aggregate. Pure.

use serde::Serialize;
use watchgate_hooks::{PluginState, PluginStatus};

use crate::check::{Check, CheckKind, CheckStatus};

/// A check that could not tell this many times in a row counts as failing: a broken check must not look like a healthy one for ever.
pub const UNKNOWN_COUNTS_AS_FAILING: u32 = 3;

/// How the gateway as a whole stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Overall {
    /// All is well.
    Ok,
    /// It works; somebody should look.
    Degraded,
    /// It does not do what it should, or is not ready.
    Failing,
}

/// What readiness is decided from.
pub(crate) struct Situation<'a> {
    pub startup_done: bool,
    pub draining: bool,
    pub missing_required: &'a [String],
    /// Says why they are missing.
    pub plugins: &'a [PluginStatus],
    pub requires_upstreams: bool,
    /// Servers that were there at the start and were not probed since.
    pub unprobed: &'a [String],
    pub checks: &'a [Check],
}

/// Why traffic should not come here; empty when ready.
pub(crate) fn not_ready_because(situation: &Situation<'_>) -> Vec<String> {
    let mut reasons = Vec::new();
    if !situation.startup_done {
        reasons.push("starting".to_owned());
    }
    if situation.draining {
        reasons.push("draining".to_owned());
    }
    reasons.extend(situation.missing_required.iter().map(|plugin| not_live(plugin, situation.plugins)));
    if situation.requires_upstreams {
        reasons.extend(situation.unprobed.iter().map(|server| format!("server `{server}` was not probed yet")));
        let down = situation.checks.iter().filter(|check| check.kind == CheckKind::Upstream && check.status == CheckStatus::Failing);
        reasons.extend(down.map(|check| format!("server `{}` is not up", check.name)));
    }
    reasons
}

fn not_live(plugin: &str, plugins: &[PluginStatus]) -> String {
    let status = plugins.iter().find(|status| status.name == plugin);
    if status.is_some_and(|status| status.state == PluginState::Quarantined) {
        return format!("required plugin `{plugin}` is quarantined: it was interrupted again and again");
    }
    match status.and_then(|status| status.refusal) {
        Some(reason) => format!("required plugin `{plugin}` is not live: its file was refused ({reason})"),
        None => format!("required plugin `{plugin}` is not live"),
    }
}

/// The aggregate.
///
/// A server that is down makes it degraded, not failing, because its neighbours work. A health plugin is the operator's own measure of
/// health, so it may make it failing. A check that has not run yet counts for nothing.
pub(crate) fn overall(ready: bool, checks: &[Check]) -> Overall {
    let worst = checks.iter().map(weight).max().unwrap_or(Overall::Ok);
    if ready { worst } else { Overall::Failing }
}

fn weight(check: &Check) -> Overall {
    let bad = match check.kind {
        CheckKind::Plugin => Overall::Failing,
        CheckKind::Core | CheckKind::Upstream => Overall::Degraded,
    };
    match check.status {
        CheckStatus::Ok => Overall::Ok,
        CheckStatus::Degraded => Overall::Degraded,
        CheckStatus::Failing => bad,
        CheckStatus::Unknown if check.unknown_in_a_row >= UNKNOWN_COUNTS_AS_FAILING => bad,
        CheckStatus::Unknown if check.unknown_in_a_row > 0 => Overall::Degraded,
        CheckStatus::Unknown => Overall::Ok,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CheckKind::{Core, Plugin, Upstream};
    use CheckStatus::{Degraded, Failing, Ok, Unknown};

    fn checks(of: &[(CheckKind, CheckStatus, u32)]) -> Vec<Check> {
        of.iter()
            .map(|(kind, status, unknown_in_a_row)| Check {
                name: "x".to_owned(),
                kind: *kind,
                status: *status,
                detail: String::new(),
                since_ms: 0,
                checked_at_ms: None,
                unknown_in_a_row: *unknown_in_a_row,
            })
            .collect()
    }

    #[test]
    fn the_aggregate_is_the_worst_that_counts() {
        let check = |of: &[(CheckKind, CheckStatus, u32)], expected| assert_eq!(overall(true, &checks(of)), expected, "{of:?}");
        check(&[], Overall::Ok);
        check(&[(Upstream, Ok, 0), (Plugin, Ok, 0), (Core, Ok, 0)], Overall::Ok);
        check(&[(Upstream, Unknown, 0), (Plugin, Unknown, 0)], Overall::Ok);
        check(&[(Upstream, Failing, 0), (Plugin, Ok, 0)], Overall::Degraded);
        check(&[(Plugin, Degraded, 0), (Plugin, Ok, 0)], Overall::Degraded);
        check(&[(Plugin, Unknown, 2)], Overall::Degraded);
        check(&[(Plugin, Unknown, 3)], Overall::Failing);
        check(&[(Upstream, Unknown, 9)], Overall::Degraded);
        check(&[(Core, Failing, 0)], Overall::Degraded);
        check(&[(Plugin, Failing, 0), (Upstream, Ok, 0)], Overall::Failing);
        assert_eq!(overall(false, &[]), Overall::Failing);
    }

    #[test]
    fn readiness_says_why_not() {
        let upstreams = checks(&[(Upstream, Failing, 0), (Plugin, Failing, 0)]);
        let ready = Situation {
            startup_done: true,
            draining: false,
            missing_required: &[],
            plugins: &[],
            requires_upstreams: false,
            unprobed: &[],
            checks: &upstreams,
        };
        let missing = ["redact".to_owned()];
        let check = |situation: Situation<'_>, expected: &[&str]| assert_eq!(not_ready_because(&situation), expected);
        check(Situation { ..ready }, &[]);
        check(Situation { startup_done: false, ..ready }, &["starting"]);
        check(Situation { draining: true, ..ready }, &["draining"]);
        check(Situation { missing_required: &missing, ..ready }, &["required plugin `redact` is not live"]);
        let refused = [crate::plugin_states::tests::plugin("redact", PluginState::Refused, Some("empty"))];
        check(
            Situation { missing_required: &missing, plugins: &refused, ..ready },
            &["required plugin `redact` is not live: its file was refused (empty)"],
        );
        let quarantined = [crate::plugin_states::tests::plugin("redact", PluginState::Quarantined, None)];
        check(
            Situation { missing_required: &missing, plugins: &quarantined, ..ready },
            &["required plugin `redact` is quarantined: it was interrupted again and again"],
        );
        check(Situation { requires_upstreams: true, ..ready }, &["server `x` is not up"]);
        // One that a reload has added is unknown until it was probed, and that is not down.
        for known in [Ok, Degraded, Unknown] {
            check(Situation { requires_upstreams: true, checks: &checks(&[(Upstream, known, 0)]), ..ready }, &[]);
        }
        let unprobed = ["y".to_owned()];
        check(Situation { unprobed: &unprobed, checks: &[], ..ready }, &[]);
        let at_start = Situation { requires_upstreams: true, unprobed: &unprobed, checks: &[], ..ready };
        check(at_start, &["server `y` was not probed yet"]);
    }
}
