//! Nothing that is tracked tells of one machine: no folders of its users, no mirror of a package registry.

use super::{Complaint, Source, numbered};

/// Folders that exist on one machine. Written apart so that this file does not break its own rule.
const MACHINE_FOLDERS: [&str; 4] = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];

/// Settings that send a package manager somewhere else than to its public registry.
const REGISTRY_SETTINGS: [&str; 5] = ["--index-url", "--extra-index-url", "\"resolved\":", "replace-with", "registry="];

/// Where Cargo's lock file says that everything comes from.
const CRATES_IO: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

/// Checks one file of any kind.
pub fn check(source: &Source) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (number, line) in numbered(&source.text) {
        if MACHINE_FOLDERS.iter().any(|folder| names_folder(line, folder)) {
            complaints.push(Complaint::at(&source.path, number, "a path of one machine"));
        }
        if is_package_list(&source.path) && REGISTRY_SETTINGS.iter().any(|setting| line.contains(setting)) {
            complaints.push(Complaint::at(&source.path, number, "a package registry of one machine"));
        }
        if source.path == "Cargo.lock" && line.starts_with("source = ") && line != CRATES_IO {
            complaints.push(Complaint::at(&source.path, number, "a crate that is not from crates.io"));
        }
    }
    complaints
}

/// Whether the folder stands there as an absolute path, and not in the middle of a relative one or a URL.
fn names_folder(line: &str, folder: &str) -> bool {
    let begins_path = |at: usize| !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || ".-_~*}$/".contains(c));
    line.match_indices(folder).any(|(at, _)| begins_path(at))
}

/// Files in which a package manager is told what to install from where.
fn is_package_list(path: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.ends_with("lock.json") || file.starts_with("requirements") || [".npmrc", "pip.conf", "config.toml", "Cargo.toml"].contains(&file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::lines_complained_about;

    fn check(path: &str, text: &str, expected: &[usize]) {
        assert_eq!(lines_complained_about(super::check, path, text), expected, "{path}: {text}");
    }

    #[test]
    fn what_belongs_to_one_machine_is_found() {
        check("a.md", &format!("fine\nsee {}me/notes\n", MACHINE_FOLDERS[1]), &[2]);
        check("a.rs", &format!("let path = \"{}x\";", MACHINE_FOLDERS[0]), &[1]);
        check("a.md", &format!("https://example.com{}", MACHINE_FOLDERS[3]), &[]);
        check("p/package-lock.json", "{\n  \"resolved\": \"https://example.com\"\n}", &[2]);
        check("p/requirements.txt", "--index-url https://example.com\nmcp==2.3.0", &[1]);
        check("Cargo.lock", &format!("{CRATES_IO}\nsource = \"git+https://example.com/x\"\n"), &[2]);
    }
}
