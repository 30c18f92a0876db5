//! Names of fields whose values are nobody's business.

use std::sync::Arc;

/// Masked without configuration.
const DEFAULT: [&str; 6] = ["password", "token", "secret", "key", "authorization", "cookie"];

/// Names whose values are shown as `***`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskedFields {
    /// In lower case.
    names: Arc<[Box<str>]>,
}

impl MaskedFields {
    /// What stands in the place of a value.
    pub const MASK: &'static str = "***";

    /// `password`, `token`, `secret`, `key`, `authorization`, `cookie` and these.
    pub fn with(names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let more = names.into_iter().map(|name| name.as_ref().to_ascii_lowercase().into_boxed_str());
        Self { names: DEFAULT.into_iter().map(Box::<str>::from).chain(more).filter(|name| !name.is_empty()).collect() }
    }

    /// Whether the value under `name` is masked: when it is one of the names, or ends in one after a `_`, `-` or `.`, in
    /// whatever case, or with a capital after a small letter or digit; `api_key`, `X-Auth-Token` and `clientSecret` are, `keyboard` and
    /// `tokens_used` are not.
    pub fn masks(&self, name: &str) -> bool {
        self.names.iter().any(|masked| {
            let Some(split) = name.len().checked_sub(masked.len()) else { return false };
            let (before, end) = name.as_bytes().split_at(split);
            let begins_a_word = || match before.last() {
                None | Some(b'_' | b'-' | b'.') => true,
                Some(last) => (last.is_ascii_lowercase() || last.is_ascii_digit()) && end.first().is_some_and(u8::is_ascii_uppercase),
            };
            end.eq_ignore_ascii_case(masked.as_bytes()) && begins_a_word()
        })
    }
}

impl Default for MaskedFields {
    fn default() -> Self {
        Self::with(<[&str; 0]>::default())
    }
}

#[cfg(test)]
mod tests {
    use super::MaskedFields;

    #[test]
    fn a_name_is_masked_whole_or_by_its_end() {
        let masked = MaskedFields::with(["IBAN", "ü", ""]);
        let check = |name: &str, expected: bool| assert_eq!(masked.masks(name), expected, "{name}");
        for name in [
            "password",
            "Token",
            "api_key",
            "X-Auth-Token",
            "db.password",
            "iban",
            "customer_iban",
            "ü",
            "a_ü",
            "clientSecret",
            "accessToken",
            "apiKey",
            "oauth2Token",
        ] {
            check(name, true);
        }
        for name in ["", "keyboard", "monkey", "tokens_used", "token_count", "ib", "xü", "é", "XTOKEN", "tokenUsed"] {
            check(name, false);
        }
    }
}
