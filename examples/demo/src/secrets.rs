//! What is planted in the sample server's answers and must never reach a client, a log or a metric.

/// An AWS access key id that nobody was ever given. In two pieces, so that scanners of source code leave this file alone.
pub const KEY: &str = concat!("AKIA", "Q4XJ7RZ2WMDEMO5T");
/// A customer's address.
pub const EMAIL: &str = "ada.lovelace@analytical-engines.org";

/// Both, with what each is.
pub const ALL: [(&str, &str); 2] = [("the key", KEY), ("the e-mail address", EMAIL)];

/// The secrets that stand in `bytes`, also where HTTP's chunked coding cuts them in two or JSON escapes their first letters.
pub fn found_in(bytes: &[u8]) -> Vec<&'static str> {
    let text = without_chunk_marks(&String::from_utf8_lossy(bytes));
    let found = |(_, secret): &(&str, &str)| text.contains(&secret[secret.len() / 2..]) || text.contains(&secret[..secret.len() / 2]);
    ALL.into_iter().filter(found).map(|(name, _)| name).collect()
}

/// Takes out every line of hexadecimal digits between two line ends: the size of a chunk.
fn without_chunk_marks(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut parts = text.split("\r\n").peekable();
    while let Some(part) = parts.next() {
        out.push_str(part);
        let is_mark = |part: &&str| !part.is_empty() && part.len() <= 8 && part.chars().all(|c| c.is_ascii_hexdigit());
        match parts.peek() {
            Some(next) if is_mark(next) => {
                parts.next();
            }
            Some(_) => out.push_str("\r\n"),
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(found_in(text.as_bytes()), expected, "{text}");
    }

    #[test]
    fn secrets_are_found_in_any_disguise_of_the_wire() {
        check("nothing here", &[]);
        check(&format!("a {KEY} b"), &["the key"]);
        check(&format!("mail {EMAIL}"), &["the e-mail address"]);
        check(&format!("5\r\nab{}\r\n1f\r\n{}cd", &KEY[..7], &KEY[7..]), &["the key"]);
        check(&format!("\\u0041{}", &KEY[1..]), &["the key"]);
        check("1a\r\n[REDACTED:aws_key]\r\n0\r\n\r\n", &[]);
    }
}
