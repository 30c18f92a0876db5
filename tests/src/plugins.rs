//! The plugin folder of a gateway under test, and the components that tests drop into it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::gateway::{Gateway, target_dir};
use crate::wait::wait_until;

/// A component of `plugins/`, as `cargo xtask plugins` built it.
///
/// # Panics
/// When it was not built.
#[track_caller]
pub fn stock(name: &str) -> Vec<u8> {
    component(&target_dir().join("plugins").join(format!("{name}.wasm")))
}

/// A component of `tests/guests/`, as `cargo xtask plugins` built it.
///
/// # Panics
/// When it was not built.
#[track_caller]
pub fn guest(name: &str) -> Vec<u8> {
    component(&target_dir().join("guests").join(format!("guest_{name}.wasm")))
}

#[track_caller]
fn component(path: &Path) -> Vec<u8> {
    match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => panic!("{}: {error}; build the components with `cargo xtask plugins`", path.display()),
    }
}

/// A folder for `--plugins`. Its functions panic when the disk refuses.
pub struct PluginFolder {
    directory: TempDir,
}

impl Default for PluginFolder {
    fn default() -> Self {
        Self::new()
    }
}

impl PluginFolder {
    /// An empty folder.
    #[track_caller]
    pub fn new() -> Self {
        Self { directory: TempDir::new().expect("the system has a folder for temporary files") }
    }

    /// A folder with one plugin; `settings` may be empty.
    #[track_caller]
    pub fn with(name: &str, component: &[u8], settings: &str) -> Self {
        let folder = Self::new();
        folder.add(name, component, settings);
        folder
    }

    /// Where it is.
    pub fn path(&self) -> &str {
        self.directory.path().to_str().expect("folders for temporary files have ASCII names")
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes the settings (unless they are empty) and then the component of a plugin.
    #[track_caller]
    pub fn add(&self, name: &str, component: &[u8], settings: &str) {
        if !settings.is_empty() {
            self.write(&format!("{name}.toml"), settings.as_bytes());
        }
        self.write(&format!("{name}.wasm"), component);
    }

    /// Writes a file in its place, as `cp` does.
    #[track_caller]
    pub fn write(&self, file: &str, bytes: &[u8]) {
        fs::write(self.file(file), bytes).unwrap_or_else(|error| panic!("{file}: {error}"));
    }

    /// Writes a file beside the others and renames it over `file`.
    #[track_caller]
    pub fn rename_over(&self, file: &str, bytes: &[u8]) {
        let beside = self.file(&format!("{file}.new"));
        let done = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, self.file(file)));
        done.unwrap_or_else(|error| panic!("{file}: {error}"));
    }

    /// Removes a file.
    #[track_caller]
    pub fn remove(&self, file: &str) {
        fs::remove_file(self.file(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
}

impl Gateway {
    /// What `/api/plugins` says about one plugin; null when it knows no such plugin.
    ///
    /// # Panics
    /// When the page is not what it should be.
    #[track_caller]
    pub fn plugin(&self, name: &str) -> Value {
        let reply = self.admin_get("/api/plugins");
        let page = reply.json().unwrap_or_else(|error| panic!("{error:#}"));
        let plugins = page["plugins"].as_array().unwrap_or_else(|| panic!("no list of plugins in {page}"));
        plugins.iter().find(|plugin| plugin["name"] == name).cloned().unwrap_or_default()
    }

    /// Waits until `/api/plugins` shows a plugin as `is_so` wants it.
    ///
    /// # Panics
    /// When it never does.
    #[track_caller]
    pub fn wait_for_plugin(&self, name: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = crate::wait::wait_for(crate::wait::DEADLINE, || {
            last = self.plugin(name);
            is_so(&last).then_some(())
        });
        assert!(found.is_some(), "waited in vain until plugin {name} is {what}; it is {last}");
        last
    }

    /// Waits until a plugin's generation is at least `generation` and the newest files are it.
    ///
    /// # Panics
    /// When that never is so.
    #[track_caller]
    pub fn wait_for_generation(&self, name: &str, generation: u64) -> Value {
        self.wait_for_plugin(name, &format!("live with generation {generation}"), |plugin| {
            plugin["state"] == "live" && plugin["generation"].as_u64().is_some_and(|found| found >= generation)
        })
    }

    /// Waits until the newest files of a plugin were refused with this reason code.
    ///
    /// # Panics
    /// When they never are.
    #[track_caller]
    pub fn wait_for_refusal(&self, name: &str, reason: &str) -> Value {
        self.wait_for_plugin(name, &format!("refused as {reason}"), |plugin| plugin["refusal"] == reason)
    }

    /// Waits until a metric is at least `value`; gives what it is.
    ///
    /// # Panics
    /// When it never is.
    #[track_caller]
    pub fn wait_for_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) -> f64 {
        wait_until(&format!("{name}{labels:?} reaches {value}"), || {
            let found = self.metrics().metric(name, labels);
            (found >= value).then_some(found)
        })
    }
}
