//! Every item of the plugin contract has a doc comment: `wit/` is the reference that plugin authors read.

use super::{Complaint, Source, numbered};

/// Words that begin an item of their own.
const ITEMS: [&str; 8] = ["world", "interface", "resource", "record", "variant", "enum", "flags", "type"];

/// Checks one WIT file.
pub fn check(source: &Source) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut documented = false;
    // Cases of an enum and fields of a record are items too; a `use` list or parameters over several lines are not.
    let mut in_list = false;
    for (number, line) in numbered(&source.text) {
        let line = line.trim();
        if line.starts_with("///") {
            documented = true;
            continue;
        }
        if !in_list && is_item(line) && !documented {
            complaints.push(Complaint::at(&source.path, number, "an item of the contract without a doc comment"));
        }
        in_list = if in_list { !line.ends_with(';') } else { is_list_left_open(line) };
        documented = documented && (line.is_empty() || line.starts_with('@') || line.starts_with("//"));
    }
    complaints
}

fn is_item(line: &str) -> bool {
    let is_declaration = ITEMS.iter().any(|word| line.strip_prefix(word).is_some_and(|rest| rest.starts_with(' ')));
    // `name: func(..);`, `name: u32,` and the bare `name,` or `name(u32),` of a case.
    let is_member = line.ends_with([';', ',', '(']) && line.starts_with(|c: char| c.is_ascii_lowercase() || c == '%');
    let is_reference = ["package ", "use ", "import ", "export ", "include "].iter().any(|word| line.starts_with(word));
    is_declaration || (is_member && !is_reference)
}

fn is_list_left_open(line: &str) -> bool {
    let is_use = line.starts_with("use ") && !line.ends_with(';');
    is_use || line.ends_with('(')
}

#[cfg(test)]
mod tests {
    use crate::tidy::lines_complained_about;

    fn check(text: &str, expected: &[usize]) {
        assert_eq!(lines_complained_about(super::check, "a.wit", text), expected, "{text}");
    }

    #[test]
    fn items_members_and_cases_need_a_comment() {
        check("package a:b@1.0.0;\n\n/// Doc.\ninterface i {\n    use t.{a, b};\n    /// Doc.\n    f: func() -> u8;\n}\n", &[]);
        check("interface i {\n    f: func() -> u8;\n}\n", &[1, 2]);
        check("/// Doc.\nenum e {\n    /// Doc.\n    a,\n    b,\n}\n", &[5]);
        check("/// Doc.\nworld w {\n    import i;\n    export j;\n    include k;\n}\n", &[]);
        check(
            "/// Doc.\ninterface i {\n    /// Doc.\n    f: func(\n        a: u8,\n        b: u8,\n    ) -> u8;\n    g: func();\n}\n",
            &[8],
        );
        check("/// Doc.\n@since(version = 0.1.0)\nvariant v {\n    /// Doc.\n    a(u8),\n    b(u8),\n}\n", &[6]);
    }
}
