//! Every package has what a package of its kind needs.

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::{Complaint, Source};

/// Crates of this workspace that a plugin may use: a plugin author has no others.
const FOR_PLUGINS: [&str; 2] = ["watchgate-plugin", "watchgate-mcp"];

/// The package that is under `plugins/` and is no plugin.
const SDK: &str = "plugins/sdk";

/// Checks every package and every example.
pub fn check(files: &[Source]) -> Result<Vec<Complaint>> {
    let mut complaints = Vec::new();
    for manifest in files.iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
        let table: Table = manifest.text.parse().with_context(|| manifest.path.clone())?;
        complaints.extend(check_manifest(&manifest.path, &table));
    }
    let mut examples: Vec<&str> = files.iter().filter_map(|file| file.path.strip_prefix("examples/")?.split('/').next()).collect();
    examples.dedup();
    for example in examples {
        let readme = format!("examples/{example}/README.md");
        if !files.iter().any(|file| file.path == readme) {
            complaints.push(Complaint::file(&readme, "an example tells its story in a README"));
        }
    }
    Ok(complaints)
}

fn check_manifest(path: &str, manifest: &Table) -> Vec<Complaint> {
    let folder = path.trim_end_matches("/Cargo.toml");
    let mut complaints = Vec::new();
    let mut complain = |text: String| complaints.push(Complaint::file(path, text));
    for table in ["lints", "package"] {
        let keys: &[&str] = if table == "lints" { &["workspace"] } else { &["version", "edition", "rust-version", "license", "publish"] };
        for key in keys.iter().filter(|key| !is_inherited(manifest, table, key)) {
            complain(format!("`{table}.{key}` is not the workspace's"));
        }
    }
    if folder.starts_with("plugins/") && folder != SDK {
        let types = manifest.get("lib").and_then(|lib| lib.get("crate-type")).and_then(Value::as_array);
        // `rlib` is for the tests, which run natively.
        for wanted in ["cdylib", "rlib"] {
            if !types.is_some_and(|types| types.iter().any(|kind| kind.as_str() == Some(wanted))) {
                complain(format!("a plugin's library is also a {wanted}"));
            }
        }
        let dependencies = manifest.get("dependencies").and_then(Value::as_table).into_iter().flat_map(|table| table.keys());
        for dependency in dependencies.filter(|name| name.starts_with("watchgate-") && !FOR_PLUGINS.contains(&name.as_str())) {
            complain(format!("a plugin may not import `{dependency}`"));
        }
    }
    complaints
}

/// Whether `table.key` is taken from the workspace: `key.workspace = true`, or `[lints] workspace = true`.
fn is_inherited(manifest: &Table, table: &str, key: &str) -> bool {
    let value = manifest.get(table).and_then(|table| table.get(key));
    let inherited = value.and_then(|value| value.as_bool().or_else(|| value.get("workspace")?.as_bool()));
    inherited == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "package.version.workspace = true\npackage.edition.workspace = true\npackage.rust-version.workspace = true\n\
        package.license.workspace = true\npackage.publish.workspace = true\nlints.workspace = true\n";

    fn check(path: &str, manifest: &str, expected: &[&str]) {
        let found = check_manifest(path, &manifest.parse().unwrap());
        let found: Vec<String> = found.into_iter().map(|complaint| complaint.text).collect();
        assert_eq!(found, expected, "{path}: {manifest}");
    }

    #[test]
    fn manifests_take_what_is_shared_from_the_workspace() {
        check("host/x/Cargo.toml", WHOLE, &[]);
        let other = WHOLE.replace("package.license.workspace = true", "package.license = \"MIT\"");
        check("host/x/Cargo.toml", &other, &["`package.license` is not the workspace's"]);
        let none = WHOLE.replace("lints.workspace = true\n", "");
        check("host/x/Cargo.toml", &none, &["`lints.workspace` is not the workspace's"]);
    }

    #[test]
    fn plugins_are_built_as_components_and_import_only_the_sdk() {
        let plugin = format!("{WHOLE}lib.crate-type = [\"cdylib\", \"rlib\"]\ndependencies.watchgate-plugin.workspace = true\n");
        check("plugins/x/Cargo.toml", &plugin, &[]);
        check("plugins/x/Cargo.toml", &plugin.replace("\"cdylib\", ", ""), &["a plugin's library is also a cdylib"]);
        check(
            "plugins/x/Cargo.toml",
            &plugin.replace("watchgate-plugin", "watchgate-hooks"),
            &["a plugin may not import `watchgate-hooks`"],
        );
        check("plugins/sdk/Cargo.toml", WHOLE, &[]);
    }

    #[test]
    fn an_example_without_a_story_is_named() {
        let files = |paths: &[&str]| paths.iter().map(|path| Source { path: (*path).to_owned(), text: String::new() }).collect::<Vec<_>>();
        assert_eq!(super::check(&files(&["examples/a/x.toml", "examples/a/README.md"])).unwrap(), []);
        assert_eq!(super::check(&files(&["examples/a/x.toml", "examples/b/README.md"])).unwrap().len(), 1);
    }
}
