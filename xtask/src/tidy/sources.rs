//! Rules for each Rust file as a whole and for its lines.

use super::{Complaint, Source, numbered};

/// Lines from which a file needs a reason.
const LONG: usize = 400;

/// Files that may be longer, with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Names under which anything could be put, so that nothing is found.
const DRAWERS: [&str; 5] = ["util", "utils", "common", "types", "helpers"];

/// Checks one Rust file.
pub fn check(source: &Source) -> Vec<Complaint> {
    let mut complaints = names(&source.path);
    if !source.text.starts_with("//! ") {
        complaints.push(Complaint::at(&source.path, 1, "the first line does not name the file's job after `//! `"));
    }
    let lines = source.text.lines().count();
    if lines > LONG && !LONG_FILES.iter().any(|(path, _)| *path == source.path) {
        complaints.push(Complaint::file(&source.path, format!("{lines} lines: split it, or give a reason in xtask/src/tidy/sources.rs")));
    }
    for (number, line) in numbered(&source.text) {
        complaints.extend(broken_by(line.trim()).map(|text| Complaint::at(&source.path, number, text)));
    }
    complaints
}

fn names(path: &str) -> Vec<Complaint> {
    let stem = path.rsplit('/').next().and_then(|file| file.strip_suffix(".rs")).unwrap_or_default();
    let folders = path.split('/').rev().skip(1);
    let mut complaints = Vec::new();
    if stem == "mod" {
        complaints.push(Complaint::file(path, "use `foo.rs` beside `foo/` in place of `foo/mod.rs`"));
    }
    for drawer in std::iter::once(stem).chain(folders).filter(|name| DRAWERS.contains(name)) {
        complaints.push(Complaint::file(path, format!("`{drawer}` says nothing about what is inside")));
    }
    complaints
}

/// What is wrong with a line of code, if anything is.
fn broken_by(line: &str) -> Option<&'static str> {
    if line.starts_with("//") {
        return None;
    }
    let is_import = line.starts_with("use ") || line.starts_with("pub use ") || line.starts_with("pub(crate) use ");
    if is_import && line.contains("::*") && line != "use super::*;" {
        return Some("glob import; only a test module may say `use super::*`");
    }
    if line.starts_with("#[ignore") {
        return Some("an ignored test proves nothing");
    }
    // Written apart so that this file does not break its own rule.
    if line.contains(concat!("todo", "!(")) || line.contains(concat!("unimplemented", "!(")) {
        return Some("unfinished code");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::lines_complained_about;

    fn check(path: &str, text: &str, expected: &[usize]) {
        assert_eq!(lines_complained_about(super::check, path, text), expected, "{path}: {text}");
    }

    #[test]
    fn each_rule_is_held() {
        check("a/b.rs", "//! Does b.\nfn f() {}\n", &[]);
        check("a/b.rs", "fn f() {}\n", &[1]);
        check("a/b.rs", "//! Does b.\n    use super::*;\nuse std::io::*;\n", &[3]);
        check("a/b.rs", "//! Does b.\npub use self::names::{One, two::*};\n", &[2]);
        check("a/b.rs", "//! Does b.\n// use std::io::*;\nlet x = a * b;\n", &[]);
        check("a/b.rs", "//! Does b.\n#[ignore = \"slow\"]\n", &[2]);
        check("a/b.rs", &format!("//! Does b.\nfn f() {{ {}(\"later\") }}\n", concat!("todo", "!")), &[2]);
        check("a/mod.rs", "//! Does b.\n", &[0]);
        check("a/util.rs", "//! Does b.\n", &[0]);
        check("common/b.rs", "//! Does b.\n", &[0]);
        check("a/b.rs", &format!("//! Does b.\n{}", "\n".repeat(LONG)), &[0]);
        check("a/b.rs", &format!("//! Does b.\n{}", "\n".repeat(LONG - 1)), &[]);
    }
}
