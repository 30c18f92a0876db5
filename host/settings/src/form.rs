//! What may stand behind a key.

use std::time::Duration;

/// The form of a value and its bounds, both ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// `true` or `false`.
    Flag,
    /// A text; how the reference calls it.
    Text(&'static str),
    /// A text out of these.
    OneOf(&'static [&'static str]),
    /// A list of texts; how the reference calls one of them.
    Texts(&'static str),
    /// A table of texts.
    Labels,
    /// A table of [`Form::Secret`], by name; how the reference calls a name.
    Secrets(&'static str),
    /// A list of numbers, each above the one before.
    Rising,
    /// Where to listen, `HOST:PORT`.
    Address,
    /// A file, relative to the configuration file.
    File,
    /// A folder, relative to the configuration file.
    Folder,
    /// `{ env = "NAME" }` or `{ file = "PATH" }`: never the secret itself.
    Secret,
    /// A duration such as `"5s"`.
    Duration(Duration, Duration),
    /// Bytes, such as `"16MiB"`.
    Size(u64, u64),
    /// A whole number.
    Count(u32, u32),
    /// A number; the first bound is not included.
    Above(f64, f64),
    /// A number from 0 to 1.
    Share,
    /// Any number.
    Number,
}

impl Form {
    /// How the reference says it.
    pub fn words(self) -> String {
        match self {
            Self::Flag => "`true` or `false`".to_owned(),
            Self::Text(words) => words.to_owned(),
            Self::OneOf(known) => known.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", "),
            Self::Texts(words) => format!("list of {words}"),
            Self::Labels => "table of texts".to_owned(),
            Self::Secrets(names) => format!("table from {names} to `{{ env = \"NAME\" }}` or `{{ file = \"PATH\" }}`"),
            Self::Rising => "list of numbers, each above the one before".to_owned(),
            Self::Address => "`HOST:PORT`; port 0 takes a free one".to_owned(),
            Self::File => "file".to_owned(),
            Self::Folder => "folder".to_owned(),
            Self::Secret => "`{ env = \"NAME\" }` or `{ file = \"PATH\" }`".to_owned(),
            Self::Duration(least, most) => format!("{} to {}", duration(least), duration(most)),
            Self::Size(least, most) => format!("{} to {}", size(least), size(most)),
            Self::Count(least, most) => format!("{least} to {most}"),
            Self::Above(least, most) => format!("above {least}, up to {most}"),
            Self::Share => "0 to 1".to_owned(),
            Self::Number => "number".to_owned(),
        }
    }
}

/// As it is written in the file, in the largest unit that fits.
fn duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    match units.into_iter().find(|(_, length)| milliseconds.is_multiple_of(*length)) {
        Some(_) if milliseconds == 0 => "0s".to_owned(),
        Some((unit, length)) => format!("{}{unit}", milliseconds / length),
        None => format!("{milliseconds}ms"),
    }
}

fn size(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, length)| bytes.is_multiple_of(*length)) {
        Some((unit, length)) => format!("{}{unit}", bytes / length),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_said_as_they_are_written() {
        let check = |form: Form, expected| assert_eq!(form.words(), expected);
        check(Form::Duration(Duration::from_millis(1), Duration::from_secs(86_400)), "1ms to 24h");
        check(Form::Duration(Duration::ZERO, Duration::from_secs(90)), "0s to 90s");
        check(Form::Size(1 << 10, 1 << 30), "1KiB to 1GiB");
        check(Form::Size(1000, 3 << 20), "1000B to 3MiB");
        check(Form::OneOf(&["a", "b"]), "`\"a\"`, `\"b\"`");
    }
}
