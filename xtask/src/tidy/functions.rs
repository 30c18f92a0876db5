//! Functions fit a screen. Counted on formatted code, where a body ends at the first brace under its `fn`.

use super::{Complaint, Source, numbered};

/// Lines that a function may have, from its name to its closing brace.
const LONGEST: usize = 100;

/// Functions that may be longer, by file and name, with the reason: tables and wiring.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[];

/// Checks every function of one Rust file.
pub fn check(source: &Source) -> Vec<Complaint> {
    let lines: Vec<(usize, &str)> = numbered(&source.text).collect();
    let mut complaints = Vec::new();
    for (index, (number, line)) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let Some(length) = length(&lines[index..], indent) else { continue };
        let excused = LONG_FUNCTIONS.iter().any(|(path, function, _)| *path == source.path && *function == name);
        if length > LONGEST && !excused {
            complaints.push(Complaint::at(&source.path, *number, format!("`{name}` has {length} lines, more than {LONGEST}")));
        }
    }
    complaints
}

/// The name of the function that this line begins, if it begins one.
fn function_name(line: &str) -> Option<&str> {
    let mut words = line.trim_start().split(' ');
    let is_qualifier =
        |word: &str| word.starts_with("pub") || ["async", "const", "unsafe", "extern"].contains(&word) || word.starts_with('"');
    let word = words.find(|word| !is_qualifier(word))?;
    if word != "fn" {
        return None;
    }
    let name = words.next()?;
    name.split(['(', '<']).next()
}

/// The number of lines until a brace closes at the indent of the first; `None` for what has no body of several lines.
fn length(lines: &[(usize, &str)], indent: &str) -> Option<usize> {
    let (_, first) = lines.first()?;
    if first.ends_with(['}', ';']) {
        return None;
    }
    for (count, (_, line)) in lines.iter().enumerate().skip(1) {
        match line.strip_prefix(indent) {
            Some("}") => return Some(count + 1),
            // The end of a declaration without a body, over several lines.
            Some(rest) if rest.starts_with(')') && rest.ends_with(';') => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::lines_complained_about;

    fn check(before: &str, header: &str, lines: usize, expected: &[usize]) {
        let indent = &header[..header.len() - header.trim_start().len()];
        let text = format!("{before}{header}\n{}{indent}}}\n", format!("{indent}    f();\n\n").repeat(lines / 2 - 1));
        assert_eq!(lines_complained_about(super::check, "a.rs", &text), expected, "{header}");
    }

    #[test]
    fn a_function_over_the_limit_is_named() {
        check("", "fn f() {", LONGEST, &[]);
        check("", "fn f() {", LONGEST + 2, &[1]);
        check("impl X {\n", "    pub(crate) async fn f<T>(", LONGEST + 2, &[2]);
        check("", "pub const unsafe extern \"C\" fn f(a: u8) -> u8 {", LONGEST + 2, &[1]);
        check("fn short() {}\n", "struct S {", LONGEST + 2, &[]);
        check("trait T {\n    fn f();\n    fn g(\n        a: u8,\n    ) -> u8;\n", "    fn h() {", LONGEST, &[]);
    }

    #[test]
    fn names_are_found_behind_every_qualifier() {
        for (line, expected) in [
            ("    pub async fn name<T>(x: T) {", Some("name")),
            ("pub(super) const fn name()", Some("name")),
            ("extern \"C\" fn name() {", Some("name")),
            ("let fn_pointer: fn() = f;", None),
            ("// fn name() {", None),
        ] {
            assert_eq!(function_name(line), expected, "{line}");
        }
    }
}
