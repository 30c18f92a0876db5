//! The rooms of `host/` import only what the design allows: this is its table of arrows.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::{Complaint, Source};

/// One crate of the workspace.
struct Room {
    /// Its folder.
    folder: &'static str,
    /// The rooms it may import, without `watchgate-`.
    may_import: &'static [&'static str],
    /// Crates from outside that would make it another room's business.
    must_not_know: &'static [&'static str],
}

const EVERY_ROOM: &[&str] = &["mcp", "telemetry", "hooks", "sandbox", "catalog", "proxy", "health", "alerts", "admin", "settings"];
/// Network, runtime and clock.
const IO: &[&str] = &["tokio", "hyper", "hyper-util", "socket2", "rustls", "tokio-rustls", "notify"];
const WASM: &[&str] = &["wasmtime", "wasmtime-wasi", "wasmtime-wasi-http"];
const HYPER: &[&str] = &["hyper", "hyper-util"];

/// `docs/architecture.md` says the same in prose. A new arrow is a commit of its own, with its reason.
const ROOMS: &[(Room, &[&[&str]])] = &[
    (Room { folder: "mcp", may_import: &[], must_not_know: &["http"] }, &[IO, WASM]),
    (Room { folder: "telemetry", may_import: &[], must_not_know: &["notify", "toml"] }, &[WASM]),
    (Room { folder: "hooks", may_import: &["mcp", "telemetry"], must_not_know: &["http"] }, &[HYPER, WASM]),
    (Room { folder: "sandbox", may_import: &["mcp", "hooks", "telemetry"], must_not_know: &["hyper-util", "notify", "toml"] }, &[]),
    (Room { folder: "catalog", may_import: &["sandbox", "hooks", "telemetry"], must_not_know: &[] }, &[HYPER, WASM]),
    (Room { folder: "proxy", may_import: &["mcp", "hooks", "telemetry"], must_not_know: &["notify", "toml"] }, &[WASM]),
    (Room { folder: "health", may_import: &["mcp", "hooks", "telemetry"], must_not_know: &[] }, &[HYPER, WASM]),
    (Room { folder: "alerts", may_import: &["hooks", "telemetry"], must_not_know: &["socket2"] }, &[HYPER, WASM]),
    (Room { folder: "admin", may_import: &["telemetry", "hooks", "health", "alerts"], must_not_know: &[] }, &[WASM]),
    (Room { folder: "settings", may_import: &[], must_not_know: &["toml", "http"] }, &[IO, WASM]),
    (Room { folder: "gateway", may_import: EVERY_ROOM, must_not_know: &[] }, &[WASM]),
];

/// Checks every manifest of `host/`.
pub fn check(files: &[Source]) -> Result<Vec<Complaint>> {
    let mut complaints = Vec::new();
    for manifest in files.iter().filter(|file| is_manifest_of_a_room(&file.path)) {
        let table: Table = manifest.text.parse().with_context(|| manifest.path.clone())?;
        complaints.extend(check_room(&manifest.path, &table));
    }
    for (room, _) in ROOMS {
        let path = format!("host/{}/Cargo.toml", room.folder);
        if !files.iter().any(|file| file.path == path) {
            complaints.push(Complaint::file(&path, "the table of rooms names this room, but it does not exist"));
        }
    }
    Ok(complaints)
}

fn is_manifest_of_a_room(path: &str) -> bool {
    path.strip_prefix("host/").is_some_and(|rest| rest.split_once('/').is_some_and(|(_, file)| file == "Cargo.toml"))
}

fn check_room(path: &str, manifest: &Table) -> Vec<Complaint> {
    let folder = path.split('/').nth(1).unwrap_or_default();
    let Some((room, unknown_to_it)) = ROOMS.iter().find(|(room, _)| room.folder == folder) else {
        return vec![Complaint::file(path, "this room is not in the table of rooms (xtask/src/tidy/rooms.rs)")];
    };
    let must_not_know: Vec<&str> = unknown_to_it.iter().copied().flatten().chain(room.must_not_know).copied().collect();
    let mut complaints = Vec::new();
    for dependency in dependencies(manifest) {
        match dependency.strip_prefix("watchgate-") {
            Some(other) if !room.may_import.contains(&other) => {
                complaints.push(Complaint::file(path, format!("`{folder}` may not import `{other}`")));
            }
            None if must_not_know.contains(&dependency) => {
                complaints.push(Complaint::file(path, format!("`{folder}` must not know `{dependency}`")));
            }
            _ => {}
        }
    }
    complaints
}

/// The crates in `[dependencies]` and `[target.*.dependencies]`, by their real names. Tests may import what they like.
fn dependencies(manifest: &Table) -> Vec<&str> {
    let of_targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(|targets| targets.values());
    let tables = std::iter::once(manifest).chain(of_targets.filter_map(Value::as_table));
    let dependencies = tables.filter_map(|table| table.get("dependencies")?.as_table()).flatten();
    let mut names = BTreeMap::new();
    for (name, settings) in dependencies {
        let renamed = settings.get("package").and_then(Value::as_str);
        names.insert(renamed.unwrap_or(name), ());
    }
    names.into_keys().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(folder: &str, dependencies: &str, expected: &[&str]) {
        let manifest = format!("[dependencies]\n{dependencies}\n[dev-dependencies]\nwatchgate-proxy = \"1\"\n");
        let found = check_room(&format!("host/{folder}/Cargo.toml"), &manifest.parse().unwrap());
        let found: Vec<String> = found.into_iter().map(|complaint| complaint.text).collect();
        assert_eq!(found, expected, "{folder}: {dependencies}");
    }

    #[test]
    fn an_arrow_that_the_table_does_not_have_is_named() {
        check("hooks", "watchgate-mcp.workspace = true\nserde = \"1\"", &[]);
        check("hooks", "watchgate-proxy.workspace = true", &["`hooks` may not import `proxy`"]);
        check("hooks", "other = { package = \"watchgate-admin\", path = \"x\" }", &["`hooks` may not import `admin`"]);
        check("mcp", "tokio = \"1\"", &["`mcp` must not know `tokio`"]);
        check("proxy", "[target.'cfg(unix)'.dependencies]\nwasmtime = \"1\"", &["`proxy` must not know `wasmtime`"]);
        check("attic", "", &["this room is not in the table of rooms (xtask/src/tidy/rooms.rs)"]);
    }

    #[test]
    fn a_room_that_is_gone_is_named() {
        let complaints = super::check(&[]).unwrap();
        assert_eq!(complaints.len(), ROOMS.len());
    }
}
