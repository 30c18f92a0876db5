//! The `resource_metadata` of challenges (RFC 9110, 11.6.1; RFC 9728, 5.1), changed in place.

use std::ops::Range;

const RESOURCE_METADATA: &[u8] = b"resource_metadata";

/// One `name=value` of a challenge.
struct Parameter {
    name: Range<usize>,
    /// Without its quotes.
    value: Range<usize>,
    is_quoted: bool,
}

/// The value of a `WWW-Authenticate` field with each `resource_metadata` replaced for which `public` gives another URL; `None` when nothing
/// changes. Everything else keeps its bytes, and what is no challenge is left alone.
pub(super) fn rewrite(field: &[u8], public: impl Fn(&str) -> Option<String>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(parameter) = next_parameter(field, &mut at) {
        if !field[parameter.name.clone()].eq_ignore_ascii_case(RESOURCE_METADATA) {
            continue;
        }
        let Some(new) = new_value(&field[parameter.value.clone()], parameter.is_quoted, &public) else { continue };
        out.extend_from_slice(&field[copied..parameter.value.start]);
        out.extend_from_slice(new.as_bytes());
        copied = parameter.value.end;
    }
    if copied == 0 {
        return None;
    }
    out.extend_from_slice(&field[copied..]);
    Some(out)
}

fn new_value(value: &[u8], is_quoted: bool, public: impl Fn(&str) -> Option<String>) -> Option<String> {
    let text = str::from_utf8(value).ok()?;
    let new = if is_quoted && text.contains('\\') { public(&unquoted(text)) } else { public(text) }?;
    let fits = new.bytes().all(|byte| !matches!(byte, b'"' | b'\\') && (is_quoted || !ends_token(byte)));
    fits.then_some(new)
}

/// The text of a quoted string's content.
fn unquoted(content: &str) -> String {
    let mut text = String::with_capacity(content.len());
    let mut rest = content.chars();
    while let Some(next) = rest.next() {
        text.push(if next == '\\' { rest.next().unwrap_or(next) } else { next });
    }
    text
}

/// The next parameter from `at` on, which is moved behind it. Names of schemes and bare credentials are passed over, quoted strings too.
fn next_parameter(field: &[u8], at: &mut usize) -> Option<Parameter> {
    while let Some(&byte) = field.get(*at) {
        if byte == b'"' {
            *at = quoted_end(field, *at)? + 1;
            continue;
        }
        let begins = is_token(byte) && (*at == 0 || ends_token(field[*at - 1]));
        if !begins {
            *at += 1;
            continue;
        }
        let name = *at..skip(field, *at, is_token);
        *at = name.end;
        let equals = skip(field, name.end, is_space);
        if field.get(equals) != Some(&b'=') {
            continue;
        }
        let start = skip(field, equals + 1, is_space);
        let is_quoted = field.get(start) == Some(&b'"');
        let value = if is_quoted { start + 1..quoted_end(field, start)? } else { start..skip(field, start, |byte| !ends_token(byte)) };
        *at = value.end + usize::from(is_quoted);
        return Some(Parameter { name, value, is_quoted });
    }
    None
}

/// The place of the quote that ends the string which begins at `start`.
fn quoted_end(field: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match field.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn skip(field: &[u8], from: usize, goes_on: impl Fn(u8) -> bool) -> usize {
    from + field[from.min(field.len())..].iter().take_while(|byte| goes_on(**byte)).count()
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Unquoted URLs are not legal, but sent: they end where anything else could begin.
fn ends_token(byte: u8) -> bool {
    is_space(byte) || byte == b','
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assert_eq, proptest};

    use super::*;

    fn public(url: &str) -> Option<String> {
        Some(format!("https://gw{}", url.strip_prefix("http://up")?))
    }

    fn check(field: &str, expected: Option<&str>) {
        let new = rewrite(field.as_bytes(), public).map(|new| String::from_utf8(new).unwrap());
        assert_eq!(new.as_deref(), expected, "{field}");
    }

    #[test]
    fn only_the_metadatas_url_changes() {
        check(
            r#"Bearer error="invalid_token",  resource_metadata="http://up/.well-known/oauth-protected-resource/mcp", scope="a b""#,
            Some(r#"Bearer error="invalid_token",  resource_metadata="https://gw/.well-known/oauth-protected-resource/mcp", scope="a b""#),
        );
        check(r#"DPoP Resource_Metadata = "http://up/x""#, Some(r#"DPoP Resource_Metadata = "https://gw/x""#));
        check("Bearer resource_metadata=http://up/x,scope=a", Some("Bearer resource_metadata=https://gw/x,scope=a"));
        check(r#"Bearer resource_metadata="http:\/\/up/x""#, Some(r#"Bearer resource_metadata="https://gw/x""#));
    }

    #[test]
    fn every_challenge_of_a_field_is_seen() {
        check(
            r#"Negotiate aGk=, Basic realm="x, resource_metadata=\"http://up/no\"", Bearer resource_metadata="http://up/1", Bearer scope=a, resource_metadata="http://up/2""#,
            Some(
                r#"Negotiate aGk=, Basic realm="x, resource_metadata=\"http://up/no\"", Bearer resource_metadata="https://gw/1", Bearer scope=a, resource_metadata="https://gw/2""#,
            ),
        );
    }

    #[test]
    fn everything_else_is_left_alone() {
        for field in [
            "",
            "Bearer",
            "Bearer resource_metadata",
            "Bearer resource_metadata=",
            r#"Bearer resource_metadata="#,
            r#"Bearer resource_metadata=""#,
            r#"Bearer resource_metadata="http://up/x"#,
            r#"Bearer resource_metadata="http://up/x\"#,
            r#"Bearer resource_metadata="http://other/x""#,
            r#"Bearer x_resource_metadata="http://up/x", resource_metadata2="http://up/x""#,
            r#"Bearer realm="resource_metadata=http://up/x""#,
            r#"Bearer resource_metadata="http://up/\"x""#,
            "Bearer a/resource_metadata=http://up/x",
        ] {
            check(field, None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(pieces in prop::collection::vec(prop::sample::select(&["Bearer ", "resource_metadata", "=", "\"", "\\", "http://up/x", ", ", " ", "\u{e9}", "a"][..]), 0..20)) {
            let field = pieces.concat();
            if let Some(new) = rewrite(field.as_bytes(), public) {
                // Taking the new origin back gives what was there, but for escapes inside the URL.
                let back = String::from_utf8(new).unwrap().replace("https://gw", "http://up");
                prop_assert_eq!(back.replace('\\', ""), field.replace('\\', ""));
            }
        }
    }
}
