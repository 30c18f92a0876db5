//! Gateways as they are measured, each with a plugin folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tempfile::TempDir;
use watchgate_tests::{Gateway, GatewayOptions};

/// Files that were changed a moment ago are looked at twice before they are loaded. Those of a gateway that starts lie there for long.
const REST: Duration = Duration::from_millis(2500);

/// A file for the plugin folder.
pub struct Plugin {
    /// Its name there.
    pub name: String,
    /// The component.
    pub component: Vec<u8>,
    /// Its settings, if it has any.
    pub settings: Option<String>,
}

impl Plugin {
    /// A component from a file, without settings.
    pub fn read(name: &str, folder: &Path, file: &str) -> Result<Self> {
        let path = folder.join(file);
        let component = fs::read(&path).with_context(|| path.display().to_string())?;
        Ok(Self { name: name.to_owned(), component, settings: None })
    }

    /// The same with settings.
    pub fn with_settings(self, settings: &str) -> Self {
        Self { settings: Some(settings.to_owned()), ..self }
    }

    /// The same component under another name and with other bytes, so that it is compiled on its own.
    pub fn variant(&self, name: &str) -> Self {
        Self { name: name.to_owned(), component: rebuilt(&self.component, name), settings: self.settings.clone() }
    }
}

/// A component with a custom section more: what another build of the same source would be.
pub fn rebuilt(component: &[u8], mark: &str) -> Vec<u8> {
    let name = "build";
    let size = 1 + name.len() + mark.len();
    assert!(size < 127, "longer sections need LEB128 of several bytes");
    [component, &[0, size as u8, name.len() as u8], name.as_bytes(), mark.as_bytes()].concat()
}

/// A running gateway with its plugin folder.
pub struct Running {
    /// The gateway.
    pub gateway: Gateway,
    /// From its process being started to both listeners being announced, which is after every plugin has been loaded.
    pub started_in: Duration,
    folder: TempDir,
}

/// A folder with these plugins.
pub fn folder(plugins: &[Plugin]) -> Result<TempDir> {
    let folder = TempDir::new()?;
    for plugin in plugins {
        let path = folder.path().join(&plugin.name);
        fs::write(path.with_extension("wasm"), &plugin.component)?;
        if let Some(settings) = &plugin.settings {
            fs::write(path.with_extension("toml"), settings)?;
        }
    }
    Ok(folder)
}

impl Running {
    /// Starts a gateway in front of one server, with the JSON access log to a file; every plugin must be live.
    pub fn before(url: &str, plugins: &[Plugin]) -> Result<Self> {
        // As a gateway runs unless it is told otherwise.
        let environment = vec![("OTEL_TRACES_SAMPLER".to_owned(), String::new())];
        Self::start(&["--upstream", url], &GatewayOptions { environment, ..GatewayOptions::default() }, plugins)
    }

    /// Starts a gateway with these arguments; every plugin must be live.
    pub fn start(arguments: &[&str], options: &GatewayOptions, plugins: &[Plugin]) -> Result<Self> {
        let folder = folder(plugins)?;
        let path = folder.path().to_str().context("the temporary folder has a name in UTF-8")?.to_owned();
        let mut arguments = [arguments, &["--plugins", &path]].concat();
        for plugin in plugins {
            arguments.extend(["--require", &plugin.name]);
        }
        if !plugins.is_empty() {
            std::thread::sleep(REST);
        }
        let begin = Instant::now();
        let gateway = Gateway::try_start(&arguments, options)?;
        let started_in = begin.elapsed();
        let ready = gateway.admin_get("/health/ready");
        anyhow::ensure!(
            ready.status() == 200,
            "not every plugin is live: {}\n{}",
            gateway.admin_get("/api/plugins").text(),
            gateway.stderr()
        );
        Ok(Self { gateway, started_in, folder })
    }

    /// The component of a plugin.
    pub fn component(&self, name: &str) -> PathBuf {
        self.folder.path().join(name).with_extension("wasm")
    }
}
