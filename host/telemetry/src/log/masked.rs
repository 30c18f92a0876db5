//! Names of fields whose values are nobody's business.

mod url;

use std::borrow::Cow;
use std::sync::Arc;

/// Masked without configuration, in the singular.
const DEFAULT: [&str; 20] = [
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "passcode",
    "token",
    "secret",
    "key",
    "credential",
    "bearer",
    "authorization",
    "cookie",
    // Written as one word.
    "apikey",
    "accesstoken",
    "authtoken",
    "refreshtoken",
    "clientsecret",
    "secretkey",
    "accesskey",
    "privatekey",
];
/// Words that follow such a name and change nothing.
const SUFFIXES: [&str; 5] = ["value", "values", "text", "string", "plain"];
/// No secret where it is MCP's `progressToken`, nor where there is a number of them.
const TOKEN: &str = "token";
/// Words before `tokens` that make it a number of pieces of text.
const COUNTING: [&str; 18] = [
    "max",
    "min",
    "total",
    "prompt",
    "completion",
    "input",
    "output",
    "num",
    "number",
    "n",
    "count",
    "used",
    "cached",
    "reasoning",
    "remaining",
    "thinking",
    "context",
    "budget",
];

/// Names whose values are shown as `***`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskedFields {
    /// The operator's, in lower case.
    names: Arc<[Box<str>]>,
}

impl MaskedFields {
    /// What stands in the place of a value.
    pub const MASK: &'static str = "***";

    /// The usual names of passwords, tokens, secrets, keys, credentials, cookies and authorizations, and these.
    pub fn with(names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let names = names.into_iter().map(|name| name.as_ref().to_ascii_lowercase().into_boxed_str());
        Self { names: names.filter(|name| !name.is_empty()).collect() }
    }

    /// Whether the value under `name` is masked: when it is one of the names, or ends in one after a `_`, `-` or `.`, in
    /// whatever case, or with a capital after a small letter, a digit or an abbreviation; `api_key`, `X-Auth-Token` and `clientSecret` are, `keyboard` and
    /// `tokens_used` are not. The usual names are found also in the plural, with digits at their end, and before words such as `value`; what counts
    /// tokens (`max_tokens`) and MCP's `progressToken` are not among them.
    pub fn masks(&self, name: &str) -> bool {
        self.names.iter().any(|masked| ends_in(name, masked)) || is_usual(name)
    }

    /// The text with what URLs in it keep for themselves masked: user names and passwords, and the values of parameters with such names.
    pub fn mask_urls<'t>(&self, text: &'t str) -> Cow<'t, str> {
        url::mask(self, text)
    }
}

/// Whether a name is another one, or ends in it as a word of its own.
fn ends_in(name: &str, masked: &str) -> bool {
    let Some(split) = name.len().checked_sub(masked.len()) else { return false };
    let (before, end) = name.as_bytes().split_at(split);
    let begins_a_word = || match before.last() {
        None | Some(b'_' | b'-' | b'.') => true,
        Some(last) if last.is_ascii_lowercase() || last.is_ascii_digit() => end.first().is_some_and(u8::is_ascii_uppercase),
        // Behind an abbreviation (`DBPassword`), but not within one.
        Some(last) => {
            last.is_ascii_uppercase() && matches!(end, [first, second, ..] if first.is_ascii_uppercase() && second.is_ascii_lowercase())
        }
    };
    end.eq_ignore_ascii_case(masked.as_bytes()) && begins_a_word()
}

/// Without what stands between it and a word that followed.
fn word_end(name: &str) -> &str {
    name.trim_end_matches(['_', '-', '.'])
}

fn is_usual(name: &str) -> bool {
    let mut name = name.trim_end_matches(|last: char| last.is_ascii_digit());
    name = word_end(name);
    if let Some(suffix) = SUFFIXES.iter().find(|suffix| name.len() > suffix.len() && ends_in(name, suffix)) {
        name = word_end(&name[..name.len() - suffix.len()]);
    }
    if ends_in(name, "progresstoken")
        || name.len().checked_sub(TOKEN.len()).is_some_and(|at| ends_in(name, TOKEN) && ends_in(word_end(&name[..at]), "progress"))
    {
        return false;
    }
    if DEFAULT.iter().any(|masked| ends_in(name, masked)) {
        return true;
    }
    let Some(singular) = name.strip_suffix(['s', 'S']) else { return false };
    let Some(masked) = DEFAULT.iter().find(|masked| ends_in(singular, masked)) else { return false };
    let before = word_end(&singular[..singular.len() - masked.len()]);
    match *masked {
        // By themselves they are numbers, or names of members.
        TOKEN | "key" => !before.is_empty() && !COUNTING.iter().any(|counting| ends_in(before, counting)),
        _ => true,
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
        let masked = MaskedFields::with(["IBAN", "ü", "field2", ""]);
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
            "field2",
            "clientSecret",
            "DBPassword",
            "APIToken",
            "x_JWTSecret",
            "accessToken",
            "apiKey",
            "oauth2Token",
        ] {
            check(name, true);
        }
        for name in ["", "keyboard", "monkey", "tokens_used", "token_count", "ib", "xü", "é", "XTOKEN", "tokenUsed", "ibans", "s", "Ss"] {
            check(name, false);
        }
    }

    #[test]
    fn usual_names_are_found_in_their_usual_spellings() {
        let masked = MaskedFields::default();
        let check = |name: &str, expected: bool| assert_eq!(masked.masks(name), expected, "{name}");
        for name in [
            "apikey",
            "APIKEY",
            "X-ApiKey",
            "accesstoken",
            "db_passwd",
            "pwd",
            "userPwd",
            "passphrase",
            "credential",
            "credentials",
            "awsCredentials",
            "bearer",
            "private_key",
            "privateKey",
            "privatekey",
            "secrets",
            "cookies",
            "passwords",
            "api_keys",
            "accessTokens",
            "refresh_tokens",
            "tokenValue",
            "token_value",
            "secret_value",
            "secretString",
            "password1",
            "password_2",
            "API_KEY_1",
        ] {
            check(name, true);
        }
        for name in [
            "tokens",
            "max_tokens",
            "maxTokens",
            "total_tokens",
            "prompt_tokens",
            "max_output_tokens",
            "tokens_used",
            "keys",
            "progressToken",
            "progress_token",
            "progresstoken",
            "value",
            "text",
            "plain_text",
            "keynote",
            "secretary",
            "bearers_of_news",
            "cookiecutter",
            "authorizationUrl",
            "1",
            "_",
        ] {
            check(name, false);
        }
    }
}
