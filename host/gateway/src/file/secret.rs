//! `{ env = "NAME" }` and `{ file = "PATH" }`: where a secret is, so that the configuration itself may be read by anybody.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::DeValue;
use watchgate_catalog::manifest::values;

/// Looks up a variable of the gateway's environment; an argument because tests must not change it.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Longer than any key or password.
const MAX_BYTES: u64 = 64 << 10;
const FORM: &str = "{ env = \"NAME\" } or { file = \"PATH\" }; a secret does not stand in the configuration itself";

/// A secret. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// In a variable of the environment.
    Environment(String),
    /// In a file, relative to the configuration file; white space around it does not count.
    File(PathBuf),
}

impl SecretText {
    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}

/// Reads the form.
///
/// # Errors
/// A sentence that completes "KEY ..."; it does not quote the value, which may be a secret by mistake.
pub fn reference(value: &DeValue<'_>, folder: &Path) -> values::Parsed<Reference> {
    let table = value.as_table().ok_or_else(|| format!("must be {FORM}"))?;
    let text = |key: &str| table.get(key).and_then(|value| value.get_ref().as_str());
    match (table.len(), text("env"), text("file")) {
        (1, Some(name), None) => Ok(Reference::Environment(name.to_owned())),
        (1, None, Some(path)) => Ok(Reference::File(folder.join(path))),
        _ => Err(format!("must be {FORM}")),
    }
}

impl Reference {
    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Environment(_) => None,
            Self::File(path) => Some(path),
        }
    }

    /// The secret.
    ///
    /// # Errors
    /// A sentence that completes "KEY ...", when it is not there or empty.
    pub fn resolve(&self, environment: Environment<'_>) -> values::Parsed<SecretText> {
        let (text, place) = match self {
            Self::Environment(name) => {
                let text = environment(name).ok_or_else(|| format!("names the environment variable `{name}`, which is not set"))?;
                (text, format!("the environment variable `{name}`"))
            }
            Self::File(path) => (read(path)?, path.display().to_string()),
        };
        match text.trim() {
            "" => Err(format!("is empty in {place}")),
            secret => Ok(SecretText(secret.to_owned())),
        }
    }
}

/// Reads a small file of secrets.
///
/// # Errors
/// A sentence that completes "KEY ...".
pub fn read(path: &Path) -> Result<String, String> {
    read_at_most(path, MAX_BYTES)
}

/// Reads a file of at most this many bytes.
///
/// # Errors
/// A sentence that completes "KEY ...".
pub fn read_at_most(path: &Path, most: u64) -> Result<String, String> {
    let problem = |error: &dyn fmt::Display| format!("names {}, which cannot be read: {error}", path.display());
    let length = std::fs::metadata(path).map_err(|error| problem(&error))?.len();
    if length > most {
        return Err(problem(&format!("it has more than {most} bytes")));
    }
    std::fs::read_to_string(path).map_err(|error| problem(&error))
}
