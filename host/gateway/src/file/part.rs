//! One table of the file, read by the table of settings: what is not a key there is refused, and bounds are taken from there.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use watchgate_catalog::manifest::{Complaint, Reader, Section as Place, values};
use watchgate_settings::{Absent, Form, Key, Section};

use super::secret::{self, Environment, Reference, SecretText};

/// A table that is there.
#[derive(Clone)]
pub struct Part<'t, 'i> {
    section: &'static Section,
    table: &'t DeTable<'i>,
    /// What stands before the names of its keys: the path as it is written, so with the name of a server where the table of settings has `NAME`.
    prefix: String,
    at: Range<usize>,
}

/// The text, what was found wrong with it so far, and the files it names whose text counts as part of it.
pub struct FileReader<'a> {
    reader: Reader<'a>,
    /// Where relative paths begin.
    pub folder: &'a Path,
    pub environment: Environment<'a>,
    pub files: Vec<PathBuf>,
}

impl<'t, 'i> Part<'t, 'i> {
    /// Whether the key is written.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The place of a key, or of the table when it is not written.
    pub fn at(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or_else(|| self.at.clone(), Spanned::span)
    }

    /// A key as complaints name it.
    pub fn path(&self, key: &str) -> String {
        format!("`{}{key}`", self.prefix)
    }

    fn key(&self, name: &str) -> &'static Key {
        self.section.key(name).expect("only keys of the table of settings are read")
    }
}

impl<'a> FileReader<'a> {
    /// Reads this text, which lies in `folder`.
    pub fn new(text: &'a str, folder: &'a Path, environment: Environment<'a>) -> Self {
        Self { reader: Reader::new(text), folder, environment, files: Vec::new() }
    }

    /// Notes a mistake at this place of the text.
    pub fn complain(&mut self, at: Range<usize>, text: impl Into<String>) {
        self.reader.complain(at, text.into());
    }

    /// Every complaint, in the order of the lines.
    pub fn into_complaints(self) -> Vec<Complaint> {
        self.reader.into_complaints()
    }

    /// The top of the file.
    pub fn top<'t, 'i>(&mut self, table: &'t DeTable<'i>) -> Part<'t, 'i> {
        self.open(Section::find("").expect("the file has a top"), table, String::new(), 0..0)
    }

    /// `[name]` in `parent`.
    pub fn part<'t, 'i>(&mut self, parent: &Part<'t, 'i>, name: &str) -> Option<Part<'t, 'i>> {
        let section = child(parent, name);
        let value = parent.table.get(name)?;
        self.table(section, parent, name, value)
    }

    /// Every `[[name]]` in `parent`.
    pub fn list<'t, 'i>(&mut self, parent: &Part<'t, 'i>, name: &str) -> Vec<Part<'t, 'i>> {
        let section = child(parent, name);
        let Some(value) = parent.table.get(name) else { return Vec::new() };
        match value.get_ref().as_array() {
            Some(array) => array.iter().filter_map(|value| self.table(section, parent, name, value)).collect(),
            None => {
                let form = format!("`[[{}{name}]]` tables", parent.prefix);
                self.wrong(parent, name, value, &form);
                Vec::new()
            }
        }
    }

    /// Every `[name.NAME]` in `parent`, in the order of the file; the place is that of its name.
    pub fn named<'t, 'i>(&mut self, parent: &Part<'t, 'i>, name: &str) -> Vec<(Spanned<String>, Part<'t, 'i>)> {
        let section = child(parent, name);
        let Some(value) = parent.table.get(name) else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            self.wrong(parent, name, value, &format!("`[{name}.NAME]` tables"));
            return Vec::new();
        };
        let mut found = Vec::new();
        for (key, value) in table {
            let own_name: &str = key.get_ref();
            if let Some(part) = self.table(section, parent, &format!("{name}.{own_name}"), value) {
                found.push((Spanned::new(key.span(), own_name.to_owned()), part));
            }
        }
        // The table is sorted by name; routing and docs speak of the order of the file.
        found.sort_by_key(|(name, _)| name.span().start);
        found
    }

    fn table<'t, 'i>(
        &mut self,
        section: &'static Section,
        parent: &Part<'t, 'i>,
        name: &str,
        value: &'t Spanned<DeValue<'i>>,
    ) -> Option<Part<'t, 'i>> {
        match value.get_ref().as_table() {
            Some(table) => Some(self.open(section, table, format!("{}{name}.", parent.prefix), value.span())),
            None => {
                self.wrong(parent, name, value, "a table");
                None
            }
        }
    }

    fn open<'t, 'i>(&mut self, section: &'static Section, table: &'t DeTable<'i>, prefix: String, at: Range<usize>) -> Part<'t, 'i> {
        let known: Vec<&str> = section.keys.iter().map(|key| key.name).chain(section.children()).collect();
        self.reader.refuse_unknown(Place { table, prefix: &prefix }, &known);
        for key in section.keys.iter().filter(|key| key.default == Absent::Required && !table.contains_key(key.name)) {
            self.reader.complain(at.clone(), format!("`{prefix}{}` is missing", key.name));
        }
        Part { section, table, prefix, at }
    }

    fn wrong(&mut self, parent: &Part<'_, '_>, name: &str, value: &Spanned<DeValue<'_>>, form: &str) {
        self.complain(value.span(), format!("{} {}", parent.path(name), values::wanted(form, value.get_ref())));
    }

    /// The value of a key, read in a way of its own.
    pub fn read<T>(&mut self, part: &Part<'_, '_>, key: &str, parse: impl Fn(&DeValue<'_>) -> values::Parsed<T>) -> Option<T> {
        let key = part.key(key);
        self.reader.read(Place { table: part.table, prefix: &part.prefix }, key.name, parse)
    }

    /// `true` or `false`.
    pub fn flag(&mut self, part: &Part<'_, '_>, key: &str) -> Option<bool> {
        self.read(part, key, values::boolean)
    }

    /// A text.
    pub fn text(&mut self, part: &Part<'_, '_>, key: &str) -> Option<String> {
        self.read(part, key, text)
    }

    /// A text that completes a sentence of complaint when it is wrong.
    pub fn parsed<T>(&mut self, part: &Part<'_, '_>, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        self.read(part, key, |value| parse(&text(value)?))
    }

    /// A list of texts, in their order.
    pub fn texts(&mut self, part: &Part<'_, '_>, key: &str) -> Option<Vec<String>> {
        self.read(part, key, texts)
    }

    /// A duration within the bounds of the table.
    pub fn duration(&mut self, part: &Part<'_, '_>, key: &str) -> Option<Duration> {
        let bounds = durations(part.key(key).form);
        self.read(part, key, |value| values::duration(value, bounds.clone()))
    }

    /// A size in bytes within the bounds of the table.
    pub fn size(&mut self, part: &Part<'_, '_>, key: &str) -> Option<usize> {
        let Form::Size(least, most) = part.key(key).form else { not_so(key) };
        let bytes = self.read(part, key, |value| values::size(value, least..=most))?;
        usize::try_from(bytes).ok()
    }

    /// A whole number within the bounds of the table.
    pub fn count(&mut self, part: &Part<'_, '_>, key: &str) -> Option<u32> {
        let Form::Count(least, most) = part.key(key).form else { not_so(key) };
        let number = self.read(part, key, |value| values::integer(value, i64::from(least)..=i64::from(most)))?;
        u32::try_from(number).ok()
    }

    /// A whole number within the bounds of the table, of things in memory.
    pub fn size_of_count(&mut self, part: &Part<'_, '_>, key: &str) -> Option<usize> {
        self.count(part, key).map(|count| usize::try_from(count).expect("a usize has 32 bits or more"))
    }

    /// Numbers, each above the one before.
    pub fn rising(&mut self, part: &Part<'_, '_>, key: &str) -> Option<Vec<f64>> {
        self.read(part, key, |value| {
            let wanted = |found| values::wanted("a list of numbers", found);
            let list = value.as_array().ok_or_else(|| wanted(value))?;
            let numbers: Vec<f64> =
                list.iter().map(|item| number(item.get_ref()).map_err(|_| wanted(item.get_ref()))).collect::<Result<_, _>>()?;
            let is_rising = numbers.is_sorted_by(|low, high| low < high);
            if is_rising { Ok(numbers) } else { Err("must be numbers, each above the one before".to_owned()) }
        })
    }

    /// A number within the bounds of the table.
    pub fn number(&mut self, part: &Part<'_, '_>, key: &str) -> Option<f64> {
        let form = part.key(key).form;
        self.read(part, key, |value| {
            let found = number(value)?;
            let fits = match form {
                Form::Share => (0.0..=1.0).contains(&found),
                Form::Above(least, most) => found > least && found <= most,
                Form::Number => true,
                _ => not_so(key),
            };
            if fits { Ok(found) } else { Err(format!("must be {}, not {found}", form.words())) }
        })
    }

    /// One of the texts that the table names.
    pub fn one_of(&mut self, part: &Part<'_, '_>, key: &str) -> Option<String> {
        let Form::OneOf(known) = part.key(key).form else { not_so(key) };
        self.parsed(part, key, |found| {
            if known.contains(&found) { Ok(found.to_owned()) } else { Err(format!("must be one of {}, not \"{found}\"", known.join(", "))) }
        })
    }

    /// A file that is there, relative to the configuration file. It is followed even when it is not there: it may come.
    pub fn file(&mut self, part: &Part<'_, '_>, key: &str) -> Option<PathBuf> {
        let path = self.folder.join(self.text(part, key)?);
        self.files.push(path.clone());
        self.read(part, key, |_| if path.is_file() { Ok(path.clone()) } else { Err(format!("names no file: {}", path.display())) })
    }

    /// A folder that is there, relative to the configuration file.
    pub fn existing_folder(&mut self, part: &Part<'_, '_>, key: &str) -> Option<PathBuf> {
        let folder = self.folder;
        self.parsed(part, key, |path| {
            let path = folder.join(path);
            if path.is_dir() { Ok(path) } else { Err(format!("names no folder: {}; create it or name another", path.display())) }
        })
    }

    /// Secrets by name.
    pub fn secrets(&mut self, part: &Part<'_, '_>, key: &str) -> Option<Vec<(String, SecretText)>> {
        let (folder, environment) = (self.folder, self.environment);
        let about = |name: &str, problem: String| format!("holds \"{name}\", which {problem}");
        let references: Vec<(String, Reference)> = self.read(part, key, |value| {
            let table = value.as_table().ok_or_else(|| values::wanted("a table", value))?;
            let entries = table.iter().map(|(name, value)| (name.get_ref().to_string(), secret::reference(value.get_ref(), folder)));
            entries.map(|(name, found)| found.map_err(|problem| about(&name, problem)).map(|found| (name, found))).collect()
        })?;
        self.files.extend(references.iter().filter_map(|(_, reference)| reference.file().map(Path::to_owned)));
        self.read(part, key, |_| {
            let resolved = references.iter().map(|(name, reference)| (name, reference.resolve(environment)));
            resolved.map(|(name, found)| found.map(|secret| (name.clone(), secret)).map_err(|problem| about(name, problem))).collect()
        })
    }

    /// A secret from the environment or a file.
    pub fn secret(&mut self, part: &Part<'_, '_>, key: &str) -> Option<SecretText> {
        let (folder, environment) = (self.folder, self.environment);
        let reference = self.read(part, key, |value| secret::reference(value, folder))?;
        self.files.extend(reference.file().map(Path::to_owned));
        self.read(part, key, |_| reference.resolve(environment))
    }
}

fn child(parent: &Part<'_, '_>, name: &str) -> &'static Section {
    parent.section.child(name).expect("only tables of the table of settings are read")
}

fn not_so(key: &str) -> ! {
    panic!("the table of settings gives `{key}` another form")
}

fn durations(form: Form) -> RangeInclusive<Duration> {
    match form {
        Form::Duration(least, most) => least..=most,
        _ => not_so("a duration"),
    }
}

/// A text.
///
/// # Errors
/// A sentence that completes "KEY ...".
pub fn text(value: &DeValue<'_>) -> values::Parsed<String> {
    value.as_str().map(str::to_owned).ok_or_else(|| values::wanted("a text", value))
}

/// A list of texts, in their order.
///
/// # Errors
/// A sentence that completes "KEY ...".
pub fn texts(value: &DeValue<'_>) -> values::Parsed<Vec<String>> {
    let list = value.as_array().ok_or_else(|| values::wanted("a list of texts", value))?;
    list.iter().map(|item| text(item.get_ref()).map_err(|_| values::wanted("a list of texts", item.get_ref()))).collect()
}

/// A table of texts.
///
/// # Errors
/// A sentence that completes "KEY ...".
pub fn labels(value: &DeValue<'_>) -> values::Parsed<BTreeMap<String, String>> {
    let table = value.as_table().ok_or_else(|| values::wanted("a table of texts", value))?;
    table.iter().map(|(name, value)| Ok((name.get_ref().to_string(), text(value.get_ref())?))).collect()
}

fn number(value: &DeValue<'_>) -> values::Parsed<f64> {
    let wanted = || values::wanted("a number", value);
    let digits = match (value.as_float(), value.as_integer()) {
        (Some(float), _) => float.as_str().to_owned(),
        (None, Some(integer)) => i64::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| wanted())?.to_string(),
        (None, None) => return Err(wanted()),
    };
    digits.parse().map_err(|_| wanted())
}
