//! What operators can have done over the admin listener.

use std::sync::Arc;

use tokio::sync::Notify;
use watchgate_admin::Commands;

/// Hands commands to the rooms.
pub struct GatewayCommands {
    /// Makes the catalog scan; `None` without a plugin folder.
    pub reload: Option<Arc<Notify>>,
}

impl Commands for GatewayCommands {
    fn reload_plugins(&self) {
        if let Some(reload) = &self.reload {
            reload.notify_one();
        }
    }
}
