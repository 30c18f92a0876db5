//! The core check of the plugins themselves: is what is in the folder what runs? Pure.

use watchgate_hooks::{PluginState, PluginStatus};

use crate::check::{CheckStatus, Finding};

/// The check's name.
pub(crate) const NAME: &str = "plugins";

/// A plugin that is refused, missing or quarantined degrades; whether traffic may go on is readiness, which looks at required ones.
pub(crate) fn look(plugins: &[PluginStatus]) -> Finding {
    let troubled: Vec<String> = plugins
        .iter()
        .filter(|plugin| plugin.state != PluginState::Live)
        .map(|plugin| match plugin.refusal {
            Some(reason) => format!("`{}` is {} ({reason})", plugin.name, plugin.state.as_str()),
            None => format!("`{}` is {}", plugin.name, plugin.state.as_str()),
        })
        .collect();
    if troubled.is_empty() {
        Finding::new(CheckStatus::Ok, format!("{} live", plugins.len()))
    } else {
        Finding::new(CheckStatus::Degraded, troubled.join(", "))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn plugin(name: &str, state: PluginState, refusal: Option<&'static str>) -> PluginStatus {
        PluginStatus {
            name: name.to_owned(),
            state,
            required: false,
            kinds: watchgate_hooks::KindSet::new(),
            generation: None,
            hash: None,
            size_bytes: None,
            live_since_ms: None,
            refusal,
            refusal_detail: None,
            refused_at_ms: None,
        }
    }

    #[test]
    fn what_does_not_run_as_it_stands_in_the_folder_degrades() {
        let check = |plugins: &[PluginStatus], status, detail: &str| assert_eq!(look(plugins), Finding::new(status, detail));
        let live = plugin("a", PluginState::Live, None);
        check(&[], CheckStatus::Ok, "0 live");
        check(&[live.clone(), plugin("b", PluginState::Live, None)], CheckStatus::Ok, "2 live");
        check(&[live, plugin("b", PluginState::LiveStale, Some("kind-lost"))], CheckStatus::Degraded, "`b` is live_stale (kind-lost)");
        check(
            &[plugin("b", PluginState::Refused, Some("not-wasm")), plugin("c", PluginState::Quarantined, None)],
            CheckStatus::Degraded,
            "`b` is refused (not-wasm), `c` is quarantined",
        );
    }
}
