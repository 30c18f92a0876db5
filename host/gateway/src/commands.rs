//! What operators can have done over the admin listener.

use std::sync::Arc;

use tokio::sync::Notify;
use watchgate_admin::{Breaker, BreakerWish, Commands, ConfigReload, NoSuchEndpoint};
use watchgate_hooks::BoxFuture;
use watchgate_proxy::{Forced, ProxyControl};

use crate::reload::ReloadSender;

/// Hands commands to the rooms.
pub struct GatewayCommands {
    /// Makes the catalog scan; `None` without a plugin folder.
    pub plugins: Option<Arc<Notify>>,
    /// Has the configuration read again.
    pub config: ReloadSender,
    /// For the circuit breakers.
    pub control: Arc<ProxyControl>,
}

impl Commands for GatewayCommands {
    fn reload_plugins(&self) {
        if let Some(plugins) = &self.plugins {
            plugins.notify_one();
        }
    }

    fn reload_config(&self) -> BoxFuture<'_, ConfigReload> {
        Box::pin(self.config.reload())
    }

    fn config(&self) -> serde_json::Value {
        self.config.in_force()
    }

    fn breakers(&self) -> Vec<Breaker> {
        let breakers = self.control.breakers().into_iter();
        breakers
            .map(|status| Breaker { server: status.server, endpoint: status.endpoint, state: status.state, forced: status.forced })
            .collect()
    }

    fn force_breaker(&self, server: &str, endpoint: Option<&str>, wanted: BreakerWish) -> Result<(), NoSuchEndpoint> {
        let forced = match wanted {
            BreakerWish::Open => Forced::Open,
            BreakerWish::Closed => Forced::Closed,
            BreakerWish::Automatic => Forced::Automatic,
        };
        self.control.force_breaker(server, endpoint, forced).map_err(|_| NoSuchEndpoint)?;
        tracing::info!(server, endpoint, ?forced, "circuit breaker set by hand");
        Ok(())
    }
}
