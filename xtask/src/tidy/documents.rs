//! Links between documents lead somewhere.

use super::{Complaint, Source, absolute, numbered};

/// Checks one Markdown file.
pub fn check(source: &Source) -> Vec<Complaint> {
    check_with(source, |path| absolute(path).exists())
}

fn check_with(source: &Source, exists: impl Fn(&str) -> bool) -> Vec<Complaint> {
    let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut complaints = Vec::new();
    let mut in_code = false;
    for (number, line) in numbered(&source.text) {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for target in links(line) {
            let resolved = resolve(folder, target);
            if !resolved.as_deref().is_some_and(&exists) {
                complaints.push(Complaint::at(&source.path, number, format!("the link to {target} leads nowhere")));
            }
        }
    }
    complaints
}

/// The targets of the links of a line that lead to a file of the repository, without their anchors.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("](").filter_map(|(at, mark)| {
        let target = line[at + mark.len()..].split([')', ' ']).next()?;
        let is_elsewhere = target.contains("://") || target.starts_with("mailto:") || target.starts_with('#');
        (!is_elsewhere).then(|| target.split('#').next().unwrap_or(target))
    })
}

/// A path in the repository, with `.` and `..` taken out; `None` when it leads out of it.
fn resolve(folder: &str, target: &str) -> Option<String> {
    let (mut parts, target): (Vec<&str>, &str) = match target.strip_prefix('/') {
        Some(from_top) => (Vec::new(), from_top),
        None => (folder.split('/').filter(|part| !part.is_empty()).collect(), target),
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[usize]) {
        let source = Source { path: "docs/deep/page.md".to_owned(), text: text.to_owned() };
        let found = check_with(&source, |path| ["docs/other.md", "README.md", "docs/deep"].contains(&path));
        assert_eq!(found.iter().map(|complaint| complaint.line).collect::<Vec<_>>(), expected, "{text}");
    }

    #[test]
    fn links_are_followed() {
        check("[a](../other.md#part) and [b](/README.md), [c](.)", &[]);
        check("[a](https://example.com/x) [b](#here)", &[]);
        check("[a](other.md)\n\n[b](../gone.md) [c](../../../out.md)", &[1, 3, 3]);
        check("```\n[a](gone.md)\n```\n[a](gone.md)", &[4]);
    }
}
