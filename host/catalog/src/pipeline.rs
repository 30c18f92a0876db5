//! One version of one plugin on its way: read -> hashed -> verified -> compiled -> linked -> tried. Going live is the
//! keeper's, because it concerns all plugins.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use watchgate_hooks::{Generation, KindSet, PluginKind};

use crate::loader::{Candidate, Loader};
use crate::manifest::{Manifest, ManifestError};
use crate::refusal::{Reason, Refusal};
use crate::scan::{ReadFile, file_path, limit, read};
use crate::sighting::{Content, Digest, FileKey, Part, Version};

/// Loading takes well under a second for the components people write and some ten seconds for the largest
/// (an interpreter); beyond this it is not going to end.
const LOAD_DEADLINE: Duration = Duration::from_secs(60);

/// The trial calls have deadlines of their own; this one covers all of them together.
const TRIAL_DEADLINE: Duration = Duration::from_secs(60);

/// What is to be loaded.
#[derive(Clone, Debug)]
pub struct Order {
    /// The folder.
    pub folder: PathBuf,
    /// The plugin.
    pub name: String,
    /// Its settled files.
    pub version: Version,
    /// The number that it will have.
    pub generation: Generation,
    /// The kinds of the live generation, if there is one.
    pub predecessor: Option<KindSet>,
}

/// A candidate that passed its trial.
pub struct Ready {
    /// The candidate.
    pub candidate: Box<dyn Candidate>,
    /// Its place in the redaction chain.
    pub order: i32,
    /// Whether its settings make it required.
    pub required: bool,
    /// Hash of the component.
    pub digest: Digest,
    /// Bytes of the component.
    pub size: u64,
}

/// Where an order ended.
pub enum Outcome {
    /// It may go live.
    Ready(Ready),
    /// Some step refused it.
    Refused(Refusal),
    /// There is no component, so only its settings count.
    NoComponent,
    /// A file is not what the scan saw, or a newer version arrived.
    Superseded,
}

/// How an order ended.
pub struct Report {
    /// What the settings say about `required`; `None` when they could not be read.
    pub required: Option<bool>,
    /// Where it ended.
    pub outcome: Outcome,
}

/// Takes an order through all steps. Between them it looks whether it is `superseded`.
pub async fn run(order: Order, loader: Arc<dyn Loader>, superseded: Arc<AtomicBool>) -> Report {
    let settings = read_settings(&order).await;
    let required = match &settings {
        Ok(manifest) => Some(manifest.required),
        Err(stop) => stop.required,
    };
    let outcome = match settings {
        Ok(manifest) => match load(&order, manifest, loader.as_ref(), &superseded).await {
            Ok(outcome) => outcome,
            Err(stop) => stop.into_outcome(),
        },
        Err(stop) => stop.into_outcome(),
    };
    Report { required, outcome }
}

/// An end before the last step.
struct Stop {
    required: Option<bool>,
    /// `None`: superseded.
    refusal: Option<Refusal>,
}

impl Stop {
    const SUPERSEDED: Self = Self { required: None, refusal: None };

    fn into_outcome(self) -> Outcome {
        self.refusal.map_or(Outcome::Superseded, Outcome::Refused)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self { required: None, refusal: Some(refusal) }
    }
}

impl From<ManifestError> for Stop {
    fn from(error: ManifestError) -> Self {
        Self { required: error.required, refusal: Some(error.into()) }
    }
}

async fn read_settings(order: &Order) -> Result<Manifest, Stop> {
    let Some(content) = &order.version.settings else { return Ok(Manifest::default()) };
    let file = read_part(order, Part::Settings, content).await?;
    let text = String::from_utf8(file.bytes).map_err(|_| Refusal::new(Reason::BadSettings, format!("{}.toml is not UTF-8", order.name)))?;
    Ok(Manifest::parse(&text, &|name| std::env::var(name).ok())?)
}

async fn load(order: &Order, manifest: Manifest, loader: &dyn Loader, superseded: &AtomicBool) -> Result<Outcome, Stop> {
    let Some(content) = &order.version.component else { return Ok(Outcome::NoComponent) };
    let file = read_part(order, Part::Component, content).await?;
    let (digest, size) = (file.digest, file.bytes.len() as u64);
    let lists_kinds = manifest.settings.kinds.is_some();
    stop_if(superseded)?;
    let loading = loader.load(&order.name, Bytes::from(file.bytes), manifest.settings, order.generation);
    let candidate = match timeout(LOAD_DEADLINE, loading).await {
        Ok(candidate) => candidate.map_err(Refusal::from)?,
        Err(_) => return Err(Refusal::new(Reason::LoadTimeout, format!("not loaded within {LOAD_DEADLINE:?}")).into()),
    };
    if !lists_kinds {
        keep_kinds(order.predecessor.as_ref(), candidate.kinds())?;
    }
    stop_if(superseded)?;
    match timeout(TRIAL_DEADLINE, candidate.try_out()).await {
        Ok(tried) => tried.map_err(Refusal::from)?,
        Err(_) => return Err(Refusal::new(Reason::LoadTimeout, format!("trial calls took over {TRIAL_DEADLINE:?}")).into()),
    }
    stop_if(superseded)?;
    Ok(Outcome::Ready(Ready { candidate, order: manifest.order, required: manifest.required, digest, size }))
}

/// A component cut at a section boundary is often a valid smaller one, so losing a kind must be said in the settings.
fn keep_kinds(predecessor: Option<&KindSet>, kinds: &KindSet) -> Result<(), Refusal> {
    let lost: Vec<&str> = predecessor.into_iter().flat_map(|old| old.difference(kinds)).map(|kind| PluginKind::as_str(*kind)).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let lost = lost.join(", ");
    Err(Refusal::new(
        Reason::KindLost,
        format!("the live generation has {lost}, the new file does not; if that is meant, list `kinds` in the settings"),
    ))
}

fn stop_if(superseded: &AtomicBool) -> Result<(), Stop> {
    if superseded.load(Ordering::Acquire) { Err(Stop::SUPERSEDED) } else { Ok(()) }
}

/// Reads a file that a scan settled. Anything else than what the scan saw supersedes the order.
async fn read_part(order: &Order, part: Part, content: &Content) -> Result<ReadFile, Stop> {
    let key = FileKey { name: order.name.clone(), part };
    let shown = format!("{}{}", order.name, part.extension());
    let expected = match content {
        Content::Bytes(digest) => *digest,
        Content::Problem(problem) => return Err(Refusal::of_file(&shown, problem).into()),
    };
    let path = file_path(&order.folder, &key);
    let read = tokio::task::spawn_blocking(move || read(&path, limit(part))).await;
    match read {
        Ok(Ok(file)) if file.digest == expected => Ok(file),
        // The scan found it readable, so the next scan has to find out what it is now.
        Ok(Ok(_) | Err(_)) => Err(Stop::SUPERSEDED),
        Err(error) => Err(Refusal::new(Reason::Internal, format!("reading {shown}: {error}")).into()),
    }
}
