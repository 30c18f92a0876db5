//! `watchgate:plugin/log`.

use crate::bindings::watchgate::plugin::log::{Host, Level as WitLevel};
use crate::plugin_log::Level;
use crate::state::State;

impl Host for State {
    fn log(&mut self, level: WitLevel, message: String) -> wasmtime::Result<()> {
        self.count_host_call()?;
        let level = match level {
            WitLevel::Trace => Level::Trace,
            WitLevel::Debug => Level::Debug,
            WitLevel::Info => Level::Info,
            WitLevel::Warn => Level::Warn,
            WitLevel::Error => Level::Error,
        };
        self.log.write(level, &message);
        Ok(())
    }
}
