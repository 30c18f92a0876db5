//! Builds the stock plugins and the guests of the tests as components.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use watchgate_tests::gateway::target_dir;
use wit_component::ComponentEncoder;

use crate::workspace::{cargo, output, root, run};

const WITH_WASI: &str = "wasm32-wasip2";
const WITHOUT_WASI: &str = "wasm32-unknown-unknown";

/// The one guest for [`WITHOUT_WASI`], where rustc makes a core module and the component is made here.
const BARE_GUEST: &str = "guest-bare";

/// A package that becomes a component.
struct Guest {
    package: String,
    /// The library's name, from which rustc makes the file name.
    library: String,
    /// A stock plugin, as against a guest of the tests.
    is_plugin: bool,
}

/// Where the components are.
pub struct Components {
    /// The stock plugins, `NAME.wasm`.
    pub plugins: PathBuf,
    /// The guests of the tests, `guest_NAME.wasm`.
    pub guests: PathBuf,
}

/// Builds everything that is not up to date.
///
/// # Errors
/// When a target cannot be added or something does not build.
pub fn build() -> Result<Components> {
    add_targets()?;
    let guests = guests()?;
    let (bare, with_wasi): (Vec<_>, Vec<_>) = guests.iter().partition(|guest| guest.package == BARE_GUEST);
    build_for(WITH_WASI, &with_wasi)?;
    build_for(WITHOUT_WASI, &bare)?;

    let target = target_dir();
    let components = Components { plugins: target.join("plugins"), guests: target.join("guests") };
    fs::create_dir_all(&components.plugins)?;
    fs::create_dir_all(&components.guests)?;
    for guest in &with_wasi {
        place(guest, &built(WITH_WASI, guest)?, &components)?;
    }
    for guest in &bare {
        let module = built(WITHOUT_WASI, guest)?;
        let component = ComponentEncoder::default().module(&module)?.validate(true).encode();
        place(guest, &component.with_context(|| format!("making a component of {}", guest.package))?, &components)?;
    }
    eprintln!("plugins are in {}", components.plugins.display());
    Ok(components)
}

/// Adds the Wasm targets to the pinned toolchain. `rustup target add` also works where rustup may not install toolchains by itself.
fn add_targets() -> Result<()> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let sysroot = output(std::process::Command::new(rustc).current_dir(root()).args(["--print", "sysroot"]))?;
    let libraries = Path::new(sysroot.trim()).join("lib/rustlib");
    let missing: Vec<&str> = [WITH_WASI, WITHOUT_WASI].into_iter().filter(|target| !libraries.join(target).join("lib").is_dir()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut rustup = std::process::Command::new("rustup");
    run(rustup.current_dir(root()).args(["target", "add"]).args(&missing))
        .with_context(|| format!("the plugins need the Rust targets {}", missing.join(" and ")))
}

/// Every package of `plugins/` and `tests/guests/` that has a library for Wasm.
fn guests() -> Result<Vec<Guest>> {
    let metadata: Value = serde_json::from_str(&output(cargo("metadata").args(["--no-deps", "--format-version", "1"]))?)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists packages")?;
    Ok(packages.iter().filter_map(guest).collect())
}

fn guest(package: &Value) -> Option<Guest> {
    let folder = Path::new(package["manifest_path"].as_str()?).parent()?.parent()?;
    let is_plugin = folder == root().join("plugins");
    if !is_plugin && folder != root().join("tests/guests") {
        return None;
    }
    let is_cdylib = |target: &&Value| target["crate_types"].as_array().is_some_and(|types| types.iter().any(|kind| kind == "cdylib"));
    let library = package["targets"].as_array()?.iter().find(is_cdylib)?;
    Some(Guest { package: package["name"].as_str()?.to_owned(), library: library["name"].as_str()?.replace('-', "_"), is_plugin })
}

fn build_for(target: &str, guests: &[&Guest]) -> Result<()> {
    if guests.is_empty() {
        bail!("no package to build for {target}");
    }
    let mut command = cargo("build");
    command.args(["--profile", "plugin", "--target", target]);
    for guest in guests {
        command.args(["--package", &guest.package]);
    }
    // Flags of the machine would replace those of .cargo/config.toml, and with them the bytes of the components.
    run(command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS"))
}

fn built(target: &str, guest: &Guest) -> Result<Vec<u8>> {
    let path = target_dir().join(target).join("plugin").join(format!("{}.wasm", guest.library));
    fs::read(&path).with_context(|| path.display().to_string())
}

/// Writes a component where the tests and the demo look for it, unless it is there already.
fn place(guest: &Guest, component: &[u8], components: &Components) -> Result<()> {
    let path = if guest.is_plugin {
        components.plugins.join(format!("{}.wasm", guest.package.trim_start_matches("watchgate-")))
    } else {
        components.guests.join(format!("{}.wasm", guest.library))
    };
    if fs::read(&path).is_ok_and(|found| found == component) {
        return Ok(());
    }
    // In one step: a gateway may be watching this folder.
    let new = path.with_extension("new");
    fs::write(&new, component)?;
    Ok(fs::rename(&new, &path)?)
}
