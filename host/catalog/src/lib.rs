//! Which plugins are live: watches the plugin folder, reads settings, takes each new version through the reload
//! pipeline, swaps it in and retires the old one.
//!
//! `scan` looks at the disk, `folder` decides what changed, `pipeline` takes one version to its trial, `keeper` is the
//! one task that owns all of it. It knows neither the proxy nor the admin API: traffic sees its work through
//! `LiveHooks`, operators through `StatusBoard`.

mod catalog;
mod folder;
mod keeper;
mod live;
mod loader;
pub mod manifest;
mod pipeline;
mod refusal;
mod roster;
mod scan;
mod sighting;
mod watch;

pub use catalog::{Catalog, CatalogConfig};
pub use loader::{Candidate, LiveParts, Loader, Upkeep};
pub use manifest::{Complaint, Manifest, ManifestError};
pub use refusal::{Reason, Refusal};
pub use watch::WatchMode;
