//! Log lines: `info!` and its siblings write to the gateway's log, marked with the plugin's name.

use core::fmt::Arguments;

use crate::Level;
use crate::bindings::imports::watchgate::plugin::log::log;

/// Writes one line; the macros [`error!`](crate::error), [`warn!`](crate::warn), [`info!`](crate::info), [`debug!`](crate::debug) and
/// [`trace!`](crate::trace) call it. At most 1 KiB of a line and 100 lines a call are kept. Do not log message content.
pub fn write_log(level: Level, line: Arguments<'_>) {
    match line.as_str() {
        Some(text) => log(level, text),
        None => log(level, &line.to_string()),
    }
}

/// Somebody must act. Arguments as for `format!`.
#[macro_export]
macro_rules! error {
    ($($argument:tt)+) => { $crate::write_log($crate::Level::Error, ::core::format_args!($($argument)+)) };
}

/// The plugin coped with something. Arguments as for `format!`.
#[macro_export]
macro_rules! warn {
    ($($argument:tt)+) => { $crate::write_log($crate::Level::Warn, ::core::format_args!($($argument)+)) };
}

/// Something changed. Arguments as for `format!`.
#[macro_export]
macro_rules! info {
    ($($argument:tt)+) => { $crate::write_log($crate::Level::Info, ::core::format_args!($($argument)+)) };
}

/// For whoever debugs the plugin. Arguments as for `format!`.
#[macro_export]
macro_rules! debug {
    ($($argument:tt)+) => { $crate::write_log($crate::Level::Debug, ::core::format_args!($($argument)+)) };
}

/// Finest detail. Arguments as for `format!`.
#[macro_export]
macro_rules! trace {
    ($($argument:tt)+) => { $crate::write_log($crate::Level::Trace, ::core::format_args!($($argument)+)) };
}
