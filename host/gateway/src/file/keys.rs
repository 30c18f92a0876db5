//! Bearer keys: `[[auth.keys]]` and lines `NAME:KEY` of a file. What is kept of a key is its digest.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use watchgate_proxy::ClientKey;

/// Shorter keys can be guessed.
const LEAST_CHARACTERS: usize = 16;
const MOST_CHARACTERS: usize = 1024;
/// Names are label values.
const MOST_IN_NAME: usize = 64;

/// Makes a key.
///
/// # Errors
/// A sentence about it that does not quote it.
pub fn key(name: &str, text: &str) -> Result<ClientKey, String> {
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    if !(1..=MOST_IN_NAME).contains(&name.len()) || !name.bytes().all(in_name) {
        return Err(format!("the name of a key must be 1 to {MOST_IN_NAME} letters, digits, `-`, `_`, `.` or `@`"));
    }
    if !(LEAST_CHARACTERS..=MOST_CHARACTERS).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "the key of `{name}` must be {LEAST_CHARACTERS} to {MOST_CHARACTERS} visible ASCII characters; `openssl rand -hex 32` makes one"
        ));
    }
    Ok(ClientKey { name: name.to_owned(), digest: Sha256::digest(text).into() })
}

/// Reads the lines of a keys file.
///
/// # Errors
/// Every mistake with its line from 1.
pub fn parse(text: &str) -> Result<Vec<ClientKey>, Vec<(usize, String)>> {
    let mut keys = Vec::new();
    let mut mistakes = Vec::new();
    for (line, content) in (1..).zip(text.lines().map(str::trim)) {
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let found = match content.split_once(':') {
            Some((name, text)) => key(name.trim(), text.trim()),
            None => Err("a line must be NAME:KEY".to_owned()),
        };
        match found {
            Ok(key) => keys.push(key),
            Err(problem) => mistakes.push((line, problem)),
        }
    }
    if mistakes.is_empty() { Ok(keys) } else { Err(mistakes) }
}

/// What is wrong with keys together: a name may have several keys, so that one can be exchanged for another, but a key has one name.
pub fn shared_by_names(keys: &[ClientKey]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let twice = keys.iter().filter(|key| !seen.insert(key.digest));
    twice.map(|key| format!("the key of `{}` is there twice", key.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_keys_file() {
        let check = |text: &str, expected: Result<&[&str], &[(usize, &str)]>| match (parse(text), expected) {
            (Ok(keys), Ok(names)) => assert_eq!(keys.iter().map(|key| &*key.name).collect::<Vec<_>>(), names, "{text}"),
            (Err(mistakes), Err(expected)) => {
                assert_eq!(mistakes.len(), expected.len(), "{mistakes:?}");
                for ((line, problem), (expected_line, part)) in mistakes.iter().zip(expected) {
                    assert!(line == expected_line && problem.contains(part), "{line}: {problem}");
                    assert!(!problem.contains("s3cret"), "{problem}");
                }
            }
            (found, _) => panic!("{text}: {found:?}"),
        };
        check("", Ok(&[]));
        check("# keys\n\nci : 0123456789abcdef\r\nci:fedcba9876543210\nops@home:a:b:c:0123456789\n", Ok(&["ci", "ci", "ops@home"]));
        check("ci:s3cret\ns3cret-s3cret-s3cret\n:0123456789abcdef\n", Err(&[(1, "16 to 1024"), (2, "NAME:KEY"), (3, "the name of a key")]));
        check("a:s3cret s3cret s3cret\n", Err(&[(1, "visible")]));
    }

    #[test]
    fn a_key_has_one_name() {
        let keys = parse("a:0123456789abcdef\nb:0123456789abcdef\na:fedcba9876543210").unwrap();
        assert_eq!(shared_by_names(&keys), ["the key of `b` is there twice"]);
        assert!(!format!("{keys:?}").contains("0123456789abcdef"));
    }
}
