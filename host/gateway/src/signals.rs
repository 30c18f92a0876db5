//! SIGTERM and SIGINT: the first asks for a drain, the second ends at once. SIGHUP asks for a reload.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use watchgate_telemetry::task;

/// Exit code after a second signal, as shells count deaths by SIGINT.
const INTERRUPTED: i32 = 130;

/// Watches for signals; the receiver turns true at the first.
///
/// # Errors
/// When a handler cannot be set, which happens only where signals are not to be had.
pub fn watch() -> std::io::Result<Arc<watch::Sender<bool>>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let sender = Arc::new(watch::Sender::new(false));
    let asked = sender.clone();
    let watching = async move {
        next(&mut terminate, &mut interrupt).await;
        tracing::info!("draining; a second signal ends at once");
        asked.send_replace(true);
        next(&mut terminate, &mut interrupt).await;
        tracing::warn!("ended by a second signal");
        std::process::exit(INTERRUPTED);
    };
    tokio::spawn(task::named("signals", "", watching));
    Ok(sender)
}

/// Each SIGHUP asks for a reload of the configuration. Without this one would end the process.
///
/// # Errors
/// As for [`watch`].
pub fn hangups() -> std::io::Result<Signal> {
    signal(SignalKind::hangup())
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
