//! One table of the file and one of its keys.

use crate::form::Form;
use crate::table::SECTIONS;

/// How a table stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `[path]`, or the top of the file; as good as empty when it is not there.
    Table,
    /// `[path]`; that it is there says something itself.
    Optional,
    /// `[[path]]`, any number of times.
    List,
    /// `[path.NAME]`, any number of times.
    Named,
}

/// What a key is when it is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// As if this TOML had been written.
    Is(&'static str),
    /// Something that cannot be written so; how the reference says it.
    Said(&'static str),
    /// It must be written.
    Required,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As written, without its table.
    pub name: &'static str,
    /// What may stand behind it.
    pub form: Form,
    /// What holds without it.
    pub default: Absent,
    /// For the reference.
    pub meaning: &'static str,
    /// Whether a change takes effect only at the next start.
    pub needs_restart: bool,
}

/// One table of the file.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// What stands before its keys, with the dot: empty for the top, `servers.NAME.`, `servers.NAME.tls.`.
    pub prefix: &'static str,
    /// How it is written.
    pub shape: Shape,
    /// For the reference.
    pub meaning: &'static str,
    /// Its keys, in the order of the reference.
    pub keys: &'static [Key],
}

impl Key {
    pub(crate) const fn new(name: &'static str, form: Form, default: Absent, meaning: &'static str) -> Self {
        Self { name, form, default, meaning, needs_restart: false }
    }

    /// For a key whose room is built once.
    pub(crate) const fn at_start(self) -> Self {
        Self { needs_restart: true, ..self }
    }
}

impl Section {
    /// The section whose keys begin so.
    pub fn find(prefix: &str) -> Option<&'static Self> {
        SECTIONS.iter().find(|section| section.prefix == prefix)
    }

    /// One of its keys.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The section of a table inside this one.
    pub fn child(&self, name: &str) -> Option<&'static Self> {
        SECTIONS.iter().find(|section| section.parent_and_name() == Some((self.prefix, name)))
    }

    /// The names of the tables inside this one.
    pub fn children(&self) -> impl Iterator<Item = &'static str> {
        SECTIONS.iter().filter_map(|section| section.parent_and_name().filter(|(parent, _)| *parent == self.prefix).map(|(_, name)| name))
    }

    /// How it is written in the file; `None` for the top.
    pub fn header(&self) -> Option<String> {
        let path = self.prefix.strip_suffix('.')?;
        Some(match self.shape {
            Shape::Table | Shape::Optional | Shape::Named => format!("[{path}]"),
            Shape::List => format!("[[{path}]]"),
        })
    }

    /// The prefix of the table that this one stands in, and its name there: `("servers.NAME.", "tls")`, `("", "servers")`; `None` for the top.
    pub fn parent_and_name(&self) -> Option<(&'static str, &'static str)> {
        let path = self.prefix.strip_suffix('.')?;
        let path = if self.shape == Shape::Named { path.strip_suffix(".NAME")? } else { path };
        let name_at = path.rfind('.').map_or(0, |dot| dot + 1);
        Some((&self.prefix[..name_at], &path[name_at..]))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_table_has_its_place() {
        let check = |prefix: &str, expected: &[&str]| {
            let children: Vec<_> = Section::find(prefix).unwrap().children().collect();
            assert_eq!(children, expected, "{prefix}");
        };
        check("servers.NAME.", &["tls", "rate", "breaker", "ejection", "retry"]);
        check("auth.", &["keys", "jwt"]);
        check("proxy.", &[]);
        for section in SECTIONS.iter().filter(|section| !section.prefix.is_empty()) {
            let (parent, name) = section.parent_and_name().unwrap();
            let parent = Section::find(parent).unwrap_or_else(|| panic!("{} stands nowhere", section.prefix));
            assert_eq!(parent.child(name).unwrap().prefix, section.prefix);
            assert!(parent.key(name).is_none(), "{} is a table and a value", section.prefix);
        }
    }

    #[test]
    fn no_key_stands_twice_and_each_is_explained() {
        let mut seen = BTreeSet::new();
        for section in SECTIONS {
            for key in section.keys {
                assert!(seen.insert((section.prefix, key.name)), "{}{}", section.prefix, key.name);
                assert!(
                    !key.meaning.is_empty() && !key.meaning.ends_with('.') && !key.meaning.contains('|'),
                    "{}{}",
                    section.prefix,
                    key.name
                );
            }
        }
        assert!(seen.len() > 90, "{}", seen.len());
    }
}
