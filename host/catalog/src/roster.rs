//! Every plugin the catalog knows of: what is live, what was refused, what is required; and what follows from that
//! for the set of hooks and for the status.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use watchgate_hooks::{Generation, HookSet, KindSet, PluginState, PluginStatus, unix_ms};
use watchgate_telemetry::{PluginHandles, ReloadFinished, Telemetry};

use crate::live::{LiveGeneration, assemble};
use crate::refusal::{Reason, Refusal};
use crate::sighting::Version;

/// All plugins by name.
pub struct Roster {
    telemetry: Arc<Telemetry>,
    required: BTreeSet<String>,
    entries: BTreeMap<String, Entry>,
    odd_names: BTreeMap<String, SystemTime>,
    /// The last number given to each name; kept when a plugin is removed, so that no number is used twice.
    numbers: BTreeMap<String, u64>,
}

/// One plugin.
#[derive(Default)]
struct Entry {
    live: Option<LiveGeneration>,
    refusal: Option<(Refusal, SystemTime)>,
    /// The files that were refused; `None` when they were not looked at.
    refused: Option<Version>,
    required_by_settings: bool,
    /// Made when there is first something to say, because names are bounded.
    handles: Option<Arc<PluginHandles>>,
}

impl Roster {
    /// Knows nothing but the names that the configuration requires.
    pub fn new(telemetry: Arc<Telemetry>, required: impl IntoIterator<Item = String>) -> Self {
        let required: BTreeSet<String> = required.into_iter().collect();
        let entries = required.iter().map(|name| (name.clone(), Entry::default())).collect();
        Self { telemetry, required, entries, odd_names: BTreeMap::new(), numbers: BTreeMap::new() }
    }

    /// The metrics of one plugin.
    pub fn handles(&mut self, name: &str) -> Arc<PluginHandles> {
        let entry = self.entries.entry(name.to_owned()).or_default();
        Arc::clone(entry.handles.get_or_insert_with(|| self.telemetry.plugin(name)))
    }

    /// The number of the next generation that goes live under this name.
    pub fn next_number(&self, name: &str) -> Generation {
        Generation(self.numbers.get(name).copied().unwrap_or_default() + 1)
    }

    /// The kinds of the live generation.
    pub fn live_kinds(&self, name: &str) -> Option<KindSet> {
        self.entries.get(name)?.live.as_ref().map(|live| live.kinds.clone())
    }

    /// If just these files are live, the newest ones are not refused any more, and what their settings say counts. A quarantined plugin is not
    /// live again by its files being the same: they are loaded anew.
    pub fn is_live_again(&mut self, name: &str, version: &Version) -> bool {
        let Some(entry) = self.entries.get_mut(name) else { return false };
        let Some(live) = entry.live.as_ref().filter(|live| &live.version == version && !live.is_quarantined()) else { return false };
        entry.required_by_settings = live.required;
        entry.refusal = None;
        true
    }

    /// Why the newest file of this name is refused.
    pub fn refusal(&self, name: &str) -> Option<Reason> {
        self.entries.get(name)?.refusal.as_ref().map(|(refusal, _)| refusal.reason)
    }

    /// The names whose newest file is refused.
    pub fn refused(&self) -> Vec<String> {
        self.entries.iter().filter(|(_, entry)| entry.refusal.is_some()).map(|(name, _)| name.clone()).collect()
    }

    /// Whether the plugin is not called at present.
    pub fn is_quarantined(&self, name: &str) -> bool {
        self.entries.get(name).and_then(|entry| entry.live.as_ref()).is_some_and(LiveGeneration::is_quarantined)
    }

    /// The names whose files are to be loaded again when an operator says so: their newest file is refused, or they are quarantined.
    pub fn troubled(&self) -> Vec<String> {
        let is_troubled = |(name, entry): &(&String, &Entry)| entry.refusal.is_some() || self.is_quarantined(name);
        self.entries.iter().filter(is_troubled).map(|(name, _)| name.clone()).collect()
    }

    /// What was refused while the plugin was quarantined is no longer refused where the generation of the same files is called again.
    pub fn forgive_recovered(&mut self) {
        for entry in self.entries.values_mut() {
            let is_recovered = |live: &LiveGeneration| !live.is_quarantined() && entry.refused.as_ref() == Some(&live.version);
            if entry.live.as_ref().is_some_and(is_recovered) {
                entry.refusal = None;
            }
        }
    }

    /// Puts a generation in the place of its predecessor, which the caller retires after the swap.
    pub fn enter(&mut self, name: &str, live: LiveGeneration) -> Option<LiveGeneration> {
        self.numbers.insert(name.to_owned(), live.number.0);
        let entry = self.entries.entry(name.to_owned()).or_default();
        entry.refusal = None;
        entry.live.replace(live)
    }

    /// Takes a removed plugin's generation out; the caller retires it after the swap.
    pub fn take_out(&mut self, name: &str) -> Option<LiveGeneration> {
        let entry = self.entries.get_mut(name)?;
        entry.refusal = None;
        entry.live.take()
    }

    /// Notes that the newest files are refused; whatever is live stays. Answers whether that is news: trying the same files again, to the
    /// same end, is none.
    pub fn refuse(&mut self, name: &str, refusal: Refusal, version: Option<&Version>) -> bool {
        let entry = self.entries.entry(name.to_owned()).or_default();
        let is_known = entry.refusal.as_ref().is_some_and(|(old, _)| *old == refusal) && entry.refused.as_ref() == version;
        if !is_known {
            entry.refusal = Some((refusal, SystemTime::now()));
            entry.refused = version.cloned();
        }
        !is_known
    }

    /// Notes what the newest readable settings say about `required`.
    pub fn set_required(&mut self, name: &str, required: bool) {
        self.entries.entry(name.to_owned()).or_default().required_by_settings = required;
    }

    /// Forgets a plugin of which nothing is left.
    pub fn forget_if_gone(&mut self, name: &str) {
        let Some(entry) = self.entries.get(name) else { return };
        if entry.live.is_some() || entry.refusal.is_some() {
            return;
        }
        if let Some(handles) = &entry.handles {
            handles.gone();
        }
        if !entry.required_by_settings && !self.required.contains(name) {
            self.entries.remove(name);
        }
    }

    /// Takes over which components have impossible names, and answers whether that changed anything.
    pub fn set_odd_names(&mut self, names: &BTreeSet<String>) -> bool {
        let before = self.odd_names.len();
        self.odd_names.retain(|name, _| names.contains(name));
        let mut has_changed = self.odd_names.len() != before;
        for name in names {
            if !self.odd_names.contains_key(name) {
                has_changed = true;
                tracing::warn!(plugin = name, reason = Reason::BadName.as_str(), detail = ODD_NAME, "plugin refused");
                let reason = Some(Reason::BadName.as_str());
                self.telemetry.emit(ReloadFinished { plugin: name, result: "refused", reason, duration: Duration::ZERO });
                self.odd_names.insert(name.clone(), SystemTime::now());
            }
        }
        has_changed
    }

    /// The required plugins that are not live, or not called.
    pub fn missing_required(&self) -> Vec<String> {
        let is_missing = |entry: &Entry| entry.live.as_ref().is_none_or(LiveGeneration::is_quarantined);
        let missing = self.entries.iter().filter(|(name, entry)| self.is_required(name, entry) && is_missing(entry));
        missing.map(|(name, _)| name.clone()).collect()
    }

    /// What is live now, as traffic sees it.
    pub fn hook_set(&self) -> HookSet {
        let generations = self.entries.iter().filter_map(|(name, entry)| Some((name.as_str(), entry.live.as_ref()?))).collect();
        assemble(&generations, self.missing_required())
    }

    /// Everything live, to be retired at the end.
    pub fn into_generations(self) -> impl Iterator<Item = LiveGeneration> {
        self.entries.into_values().filter_map(|entry| entry.live)
    }

    /// What operators are told, by name; the metrics are told the same.
    pub fn statuses(&self) -> Vec<PluginStatus> {
        let mut statuses = Vec::with_capacity(self.entries.len());
        for (name, entry) in &self.entries {
            let is_required = self.is_required(name, entry);
            let Some(state) = entry.state(is_required) else { continue };
            if let Some(handles) = &entry.handles {
                handles.state(state.as_str());
                handles.generation(entry.live.as_ref().map_or(0, |live| live.number.0));
            }
            statuses.push(entry.status(name, state, is_required));
        }
        statuses.extend(self.odd_names.iter().map(|(name, since)| odd_status(name, *since)));
        statuses
    }

    fn is_required(&self, name: &str, entry: &Entry) -> bool {
        entry.required_by_settings || self.required.contains(name)
    }
}

impl Entry {
    /// `None` while nothing has been decided about it.
    fn state(&self, is_required: bool) -> Option<PluginState> {
        match (&self.live, &self.refusal) {
            (Some(live), _) if live.is_quarantined() => Some(PluginState::Quarantined),
            (Some(_), Some(_)) => Some(PluginState::LiveStale),
            (Some(_), None) => Some(PluginState::Live),
            (None, Some(_)) => Some(PluginState::Refused),
            (None, None) => is_required.then_some(PluginState::Missing),
        }
    }

    fn status(&self, name: &str, state: PluginState, required: bool) -> PluginStatus {
        let live = self.live.as_ref();
        let refusal = self.refusal.as_ref();
        PluginStatus {
            name: name.to_owned(),
            state,
            required,
            kinds: live.map(|live| live.kinds.clone()).unwrap_or_default(),
            generation: live.map(|live| live.number),
            hash: live.map(|live| live.digest.to_hex()),
            size_bytes: live.map(|live| live.size),
            live_since_ms: live.map(|live| unix_ms(live.since)),
            refusal: refusal.map(|(refusal, _)| refusal.reason.as_str()),
            refusal_detail: refusal.map(|(refusal, _)| refusal.detail.clone()),
            refused_at_ms: refusal.map(|(_, at)| unix_ms(*at)),
        }
    }
}

fn odd_status(name: &str, since: SystemTime) -> PluginStatus {
    PluginStatus {
        name: name.to_owned(),
        state: PluginState::Refused,
        required: false,
        kinds: KindSet::new(),
        generation: None,
        hash: None,
        size_bytes: None,
        live_since_ms: None,
        refusal: Some(Reason::BadName.as_str()),
        refusal_detail: Some(ODD_NAME.to_owned()),
        refused_at_ms: Some(unix_ms(since)),
    }
}

/// What is wrong with an impossible name.
const ODD_NAME: &str = "a plugin's name has at most 64 letters, digits, `.`, `-` and `_`, and begins with a letter or digit";
