//! What URLs within a text keep for themselves: who asks, and parameters with telling names.

use std::borrow::Cow;
use std::ops::Range;

use super::MaskedFields;

/// The text with the user information of URLs masked, and the values of parameters whose names are.
pub(super) fn mask<'t>(masked: &MaskedFields, text: &'t str) -> Cow<'t, str> {
    let mut secrets: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find("://") {
        let start = at + found + 3;
        let length = text[start..].find(is_end).unwrap_or(text.len() - start);
        note(masked, &text[start..start + length], start, &mut secrets);
        // A URL may be a parameter of another.
        at = start;
    }
    if secrets.is_empty() {
        return Cow::Borrowed(text);
    }
    secrets.sort_by_key(|secret| secret.start);
    let (mut shown, mut end) = (String::with_capacity(text.len()), 0);
    for secret in secrets {
        // One within another is masked with it.
        if secret.start >= end {
            shown.push_str(&text[end..secret.start]);
            shown.push_str(MaskedFields::MASK);
        }
        end = end.max(secret.end);
    }
    shown.push_str(&text[end..]);
    Cow::Owned(shown)
}

/// Where the secrets of the URL are that begins at `start` with its authority.
fn note(masked: &MaskedFields, url: &str, start: usize, secrets: &mut Vec<Range<usize>>) {
    let authority = url.find(['/', '?', '#']).unwrap_or(url.len());
    if let Some(user) = url[..authority].rfind('@').filter(|user| *user > 0) {
        secrets.push(start..start + user);
    }
    let mut at = authority;
    for piece in url[authority..].split(['?', '#', '&', ';']) {
        if let Some((name, value)) = piece.split_once('=').filter(|(name, value)| !value.is_empty() && masked.masks(name)) {
            let value_at = start + at + name.len() + 1;
            secrets.push(value_at..value_at + value.len());
        }
        at += piece.len() + 1;
    }
}

/// What no URL holds.
fn is_end(character: char) -> bool {
    character.is_whitespace() || character.is_control() || matches!(character, '"' | '\'' | '<' | '>' | '`' | '\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(MaskedFields::default().mask_urls(text), expected, "{text}");
    }

    #[test]
    fn users_and_telling_parameters_are_masked() {
        check("postgres://ada:pass@db.example:5432/x", "postgres://***@db.example:5432/x");
        check("https://api.example/v1?api_key=abc&city=Oslo", "https://api.example/v1?api_key=***&city=Oslo");
        check(
            "see https://x.example/#access_token=abc;page=2 and \"ftp://a@b/c\"",
            "see https://x.example/#access_token=***;page=2 and \"ftp://***@b/c\"",
        );
        check("https://x/?next=https://u:p@y/?token=t&a=1", "https://x/?next=https://***@y/?token=***&a=1");
        check("https://x/?token=https://u:p@y/", "https://x/?token=***");
        check("file:///etc/hosts?token=ü", "file:///etc/hosts?token=***");
    }

    #[test]
    fn everything_else_stays() {
        for text in ["", "://", "a@b.example", "https://x/?max_tokens=5&key=", "https://x/@user?page=1", "no url?token=abc", "https://@x/"]
        {
            check(text, text);
        }
    }

    #[test]
    fn any_text_has_a_form() {
        for text in ["x://@", "x://a@", "x://ü@ü?=ü&key=ü#=", "://://://", "x://?token=://?token=a", "\u{0}://\u{2028}"] {
            MaskedFields::default().mask_urls(text);
        }
    }
}
