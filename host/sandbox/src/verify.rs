//! Looks at a component's bytes before anything is compiled: is it one, what does it export, does it import only what it may.
//!
//! Only names are read here; whether the types behind them fit is seen when it is linked.

use wasmparser::{Encoding, Parser, Payload};
use wasmtime::Engine;
use watchgate_hooks::{KindSet, PluginKind};

use crate::refusal::{LoadCode, LoadError};
use crate::settings::PluginSettings;

/// The package of the contract, and the version of it that the host speaks.
const PACKAGE: &str = "watchgate:plugin/";
const VERSION: &str = "0.1.";
/// What every WebAssembly binary begins with.
const MAGIC: &[u8; 4] = b"\0asm";
/// Packages of WASI that are always linked, and do nothing that leaves the process.
const INERT: [&str; 6] = ["wasi:io/", "wasi:cli/", "wasi:random/", "wasi:clocks/", "wasi:filesystem/", "wasi:sockets/"];
/// Linked only by a grant.
const HTTP: &str = "wasi:http/";
const MCP_CLIENT: &str = "mcp-client";
/// Host interfaces of the contract that are always linked.
const OURS: [&str; 6] = ["log", "metrics", "messages", "operations", "alerts", "startup"];

/// What the names of a component's imports and exports say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// The kinds that will be used: exported, and wanted by the settings.
    pub(crate) kinds: KindSet,
    /// Whether it exports `collection`.
    pub(crate) collects: bool,
    /// Whether it imports `mcp-client`.
    pub(crate) asks_servers: bool,
    /// Whether it imports `wasi:http`.
    pub(crate) uses_http: bool,
}

/// Checks a component by its names.
pub(crate) fn verify(bytes: &[u8], settings: &PluginSettings) -> Result<Manifest, LoadError> {
    check_header(bytes)?;
    let names = Names::read(bytes)?;
    let exports = Exported::of(&names.exports)?;
    let kinds = wanted_kinds(exports.kinds, settings)?;
    if !exports.lifecycle {
        return Err(LoadError::new(LoadCode::KindShape, "the component exports no `watchgate:plugin/lifecycle`"));
    }
    let collects = exports.collection && kinds.contains(&PluginKind::Derivation);
    let mut manifest = Manifest { kinds, collects, asks_servers: false, uses_http: false };
    for import in &names.imports {
        check_import(import, settings, &mut manifest)?;
    }
    Ok(manifest)
}

fn check_header(bytes: &[u8]) -> Result<(), LoadError> {
    let refuse = |code, detail: &str| Err(LoadError::new(code, detail));
    if bytes.is_empty() {
        return refuse(LoadCode::Empty, "the file is empty");
    }
    if Engine::detect_precompiled(bytes).is_some() {
        return refuse(LoadCode::Precompiled, "the file holds machine code; only WebAssembly is accepted");
    }
    if !bytes.starts_with(MAGIC) {
        return match MAGIC.starts_with(bytes) {
            true => refuse(LoadCode::Malformed, "the file is cut inside its first four bytes"),
            false => refuse(LoadCode::NotWasm, "the file does not begin as WebAssembly does"),
        };
    }
    Ok(())
}

/// The names in the outermost component's import and export sections.
#[derive(Default)]
struct Names {
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Names {
    fn read(bytes: &[u8]) -> Result<Self, LoadError> {
        let malformed = |error: wasmparser::BinaryReaderError| LoadError::new(LoadCode::Malformed, first_line(&error.to_string()));
        let mut names = Self::default();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(malformed)? {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                    return Err(LoadError::new(LoadCode::CoreModule, "the file is a core module; wrap it with `wasm-tools component new`"));
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        names.imports.push(import.map_err(malformed)?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        names.exports.push(export.map_err(malformed)?.name.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(names)
    }
}

/// What of the contract a component exports.
#[derive(Default)]
struct Exported {
    kinds: KindSet,
    lifecycle: bool,
    collection: bool,
}

impl Exported {
    fn of(names: &[String]) -> Result<Self, LoadError> {
        let mut exported = Self::default();
        for name in names {
            let Some(interface) = our_interface(name)? else { continue };
            match interface {
                "lifecycle" => exported.lifecycle = true,
                "collection" => exported.collection = true,
                _ => exported.kinds.extend(PluginKind::ALL.into_iter().filter(|kind| kind.as_str() == interface)),
            }
        }
        Ok(exported)
    }
}

fn wanted_kinds(exported: KindSet, settings: &PluginSettings) -> Result<KindSet, LoadError> {
    if exported.is_empty() {
        return Err(LoadError::new(LoadCode::NoKind, "the component exports none of redaction, derivation, health, alerting"));
    }
    let Some(wanted) = settings.kinds.clone().filter(|wanted| !wanted.is_empty()) else { return Ok(exported) };
    match wanted.difference(&exported).next() {
        Some(missing) => {
            Err(LoadError::new(LoadCode::NoKind, format!("its settings list `{}`, which it does not export", missing.as_str())))
        }
        None => Ok(wanted),
    }
}

/// The interface's name if it is one of the contract's, which must have a version that the host speaks.
fn our_interface(name: &str) -> Result<Option<&str>, LoadError> {
    let Some(rest) = name.strip_prefix(PACKAGE) else { return Ok(None) };
    match rest.split_once('@') {
        Some((interface, version)) if version.starts_with(VERSION) && !version.contains('-') => Ok(Some(interface)),
        _ => Err(LoadError::new(LoadCode::WitVersion, format!("`{name}` is not of version {VERSION}x, which this gateway speaks"))),
    }
}

fn check_import(name: &str, settings: &PluginSettings, manifest: &mut Manifest) -> Result<(), LoadError> {
    let grants = &settings.grants;
    let not_granted =
        |grant: &str| Err(LoadError::new(LoadCode::ImportNotGranted, format!("it imports `{name}`; its settings grant no `{grant}`")));
    if INERT.iter().any(|package| name.starts_with(package)) {
        return Ok(());
    }
    if name.starts_with(HTTP) {
        manifest.uses_http = true;
        return if grants.http.is_empty() { not_granted("http") } else { Ok(()) };
    }
    match our_interface(name)? {
        Some(MCP_CLIENT) => {
            manifest.asks_servers = true;
            if grants.mcp_client.is_empty() { not_granted("mcp_client") } else { Ok(()) }
        }
        Some(interface) if OURS.contains(&interface) => Ok(()),
        _ => Err(LoadError::new(LoadCode::UnknownImport, format!("it imports `{name}`, which this gateway does not offer"))),
    }
}

/// The first line of an error text, which for parsers is the sentence.
pub(crate) fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
