//! Swaps a plugin while calls flow: first its component, then its settings.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::calls::{Flow, Tally};
use crate::clients::Era;
use crate::set_up::{Pieces, redaction_settings};

const PLUGIN: &str = "redact-secrets";
const GENERATION: &str = "watchgate_plugin_generation";
/// Calls that must be answered before, between and after the swaps.
const ENOUGH_CALLS: u64 = 30;

/// What came of the swaps.
pub struct Swapped {
    /// The calls that flowed meanwhile.
    pub tally: Arc<Tally>,
    /// The generation before.
    pub before: u64,
    /// The generation after the new component, if it went live, and how long that took.
    pub component: Option<(u64, Duration)>,
    /// The generation after the new settings, if they went live, and how long that took.
    pub settings: Option<(u64, Duration)>,
    /// An answer before the swaps.
    pub answer_before: String,
    /// An answer after them.
    pub answer_after: String,
}

/// Swaps under load.
pub async fn swap(pieces: &Pieces) -> Result<Swapped> {
    let before = pieces.until(|metrics| generation(metrics.metric(GENERATION, &[("plugin", PLUGIN)]))).await?;
    let before = before.context("the plugin is not live")?;
    let flow = Flow::start(&pieces.url(), &[Era::Modern, Era::Modern, Era::Legacy]).await?;
    let answer_before = more_answers(pieces, &flow.tally).await?;

    let path = pieces.folder().join(PLUGIN).with_extension("wasm");
    // Different each time, so that no run finds what an earlier one had compiled.
    let build = format!("demo {}", std::process::id());
    let component = with_custom_section(&fs::read(&path)?, "build", build.as_bytes());
    let component = replace(pieces, &path, &component, before).await?;
    more_answers(pieces, &flow.tally).await?;

    let path = path.with_extension("toml");
    let reached = component.map_or(before, |(generation, _)| generation);
    let settings = replace(pieces, &path, redaction_settings("hash").as_bytes(), reached).await?;
    let answer_after = more_answers(pieces, &flow.tally).await?;
    Ok(Swapped { tally: flow.stop().await?, before, component, settings, answer_before, answer_after })
}

/// Puts a new file in the place of the old one in one step, as a deployment does, and waits for the next generation.
async fn replace(pieces: &Pieces, path: &Path, content: &[u8], from: u64) -> Result<Option<(u64, Duration)>> {
    let new = path.with_extension("new");
    fs::write(&new, content)?;
    let start = Instant::now();
    fs::rename(&new, path)?;
    let live = |value: f64| generation(value).filter(|generation| *generation > from);
    let live = pieces.until(|metrics| live(metrics.metric(GENERATION, &[("plugin", PLUGIN)]))).await?;
    Ok(live.map(|generation| (generation, start.elapsed())))
}

/// Waits until as many more calls as are [`ENOUGH_CALLS`] have been made, and gives the newest answer.
async fn more_answers(pieces: &Pieces, tally: &Tally) -> Result<String> {
    let made = || tally.answered() + tally.failed();
    let enough = made() + ENOUGH_CALLS;
    let answer = pieces.until(|_| (made() >= enough).then(|| tally.last())).await?;
    answer.with_context(|| format!("calls do not flow: {:?}", tally.first_failure()))
}

/// A generation as a metric's value; none is 0.
fn generation(value: f64) -> Option<u64> {
    (value >= 1.0).then_some(value as u64)
}

/// The same component with other bytes: what another build of the same source would be.
fn with_custom_section(component: &[u8], name: &str, content: &[u8]) -> Vec<u8> {
    let lengths_fit_a_byte = name.len() + content.len() < 127;
    assert!(lengths_fit_a_byte, "longer sections need LEB128 of several bytes");
    let size = 1 + name.len() + content.len();
    [component, &[0, size as u8, name.len() as u8], name.as_bytes(), content].concat()
}
