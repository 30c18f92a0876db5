//! Typed settings: the `[config]` table as the plugin's own type, with errors that name the key.

use core::fmt;

use serde::de::DeserializeOwned;

use crate::Setup;

/// Why the `[config]` table does not fit: one sentence that names the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl core::error::Error for ConfigError {}

/// So that `?` works in [`Plugin::start`](crate::Plugin::start).
impl From<ConfigError> for String {
    fn from(error: ConfigError) -> Self {
        error.0
    }
}

impl Setup {
    /// The `[config]` table of the plugin's `.toml` as a type of the plugin. Put `#[serde(deny_unknown_fields)]` on it, so that operators learn
    /// of misspelt keys.
    ///
    /// # Errors
    /// A sentence that names the key which does not fit.
    pub fn config_as<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        read(&self.config())
    }
}

fn read<T: DeserializeOwned>(json: &str) -> Result<T, ConfigError> {
    serde_json::from_str(json).map_err(|error| {
        let mut reason = error.to_string();
        if let Some(position) = reason.rfind(" at line ") {
            reason.truncate(position);
        }
        let offset = offset_of(json, error.line(), error.column());
        let path = key_path(json.as_bytes().get(..offset).unwrap_or_default());
        ConfigError(if path.is_empty() { format!("config: {reason}") } else { format!("config key `{path}`: {reason}") })
    })
}

/// The byte offset of a position as `serde_json` gives it: lines and columns from 1, columns in bytes.
fn offset_of(json: &str, line: usize, column: usize) -> usize {
    let before: usize = json.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    before + column
}

/// The keys that lead to the end of `json`, the valid beginning of a JSON text, as `outer.inner`.
fn key_path(json: &[u8]) -> String {
    // The path of keys that are open; an array or an object not yet at its first key contributes an empty one.
    let mut path: Vec<&[u8]> = Vec::new();
    let mut last: &[u8] = b"";
    let mut position = 0;
    while let Some(&byte) = json.get(position) {
        position += 1;
        match byte {
            b'{' | b'[' => path.push(b""),
            b'}' | b']' => {
                path.pop();
            }
            b':' => {
                if let Some(open) = path.last_mut() {
                    *open = last;
                }
            }
            b'"' => {
                let start = position;
                while let Some(&inside) = json.get(position) {
                    match inside {
                        b'"' => break,
                        b'\\' => position += 2,
                        _ => position += 1,
                    }
                }
                last = json.get(start..position).unwrap_or_default();
                position += 1;
            }
            _ => {}
        }
    }
    let keys: Vec<_> = path.into_iter().filter(|key| !key.is_empty()).map(String::from_utf8_lossy).collect();
    keys.join(".")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::read;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(default)]
        limit: u32,
        inner: Option<Inner>,
        #[serde(default)]
        list: Vec<u32>,
    }

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[serde(rename = "mode")]
        _mode: bool,
    }

    fn check(json: &str, expected: &str) {
        match read::<Outer>(json) {
            Ok(outer) => assert_eq!(format!("{} {} {}", outer.limit, outer.inner.is_some(), outer.list.len()), expected),
            Err(error) => assert_eq!(error.to_string(), expected, "{json}"),
        }
    }

    #[test]
    fn errors_name_the_key() {
        check(r#"{"limit": 3}"#, "3 false 0");
        check(r#"{"limit": "many"}"#, "config key `limit`: invalid type: string \"many\", expected u32");
        check("{\"list\": [1],\n\"inner\": {\"mode\": \"x\"}}", "config key `inner.mode`: invalid type: string \"x\", expected a boolean");
        check(r#"{"inner": {}}"#, "config key `inner`: missing field `mode`");
        check(r#"{"list": [1, -2]}"#, "config key `list`: invalid value: integer `-2`, expected u32");
        check(r#"{"a\"b:": 1}"#, "config: unknown field `a\"b:`, expected one of `limit`, `inner`, `list`");
        check("7", "config: invalid type: integer `7`, expected struct Outer");
    }
}
