//! Where the catalog posts how each plugin stands, and admin and health read it.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::status::PluginStatus;

/// The newest statuses, replaced whole: a reader never sees half of a change.
#[derive(Debug, Default)]
pub struct StatusBoard {
    plugins: ArcSwap<Vec<PluginStatus>>,
}

impl StatusBoard {
    /// An empty board.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces what the board shows. Called by the catalog only, which gives them in the order they are to be shown in.
    pub fn publish(&self, plugins: Vec<PluginStatus>) {
        self.plugins.store(Arc::new(plugins));
    }

    /// What was published last; empty before that.
    pub fn read(&self) -> Arc<Vec<PluginStatus>> {
        self.plugins.load_full()
    }
}
