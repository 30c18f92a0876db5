//! What a new configuration takes away: whether it may be half a text, and which protection ends with it. Pure.

use std::fmt;

use serde_json::Value;

use crate::settings::Settings;

/// The configuration file as somebody wrote it.
#[derive(Clone, Default)]
pub struct Written {
    /// Its text.
    pub text: String,
    /// What is in it.
    pub document: Value,
}

impl fmt::Debug for Written {
    /// Without the text: a secret may stand in it by mistake.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Written").field("bytes", &self.text.len()).finish_non_exhaustive()
    }
}

/// Whether `new` may be the beginning of something that is still being written: its text is the beginning of the one before, or lacks a key, a table
/// or a client that the one before has. Cut off between two lines a configuration is mostly a sound one, often without a gate.
pub fn may_be_cut_off(old: &Settings, new: &Settings) -> bool {
    let (before, after) = (&old.written, &new.written);
    let is_beginning = after.text.len() < before.text.len() && before.text.starts_with(&after.text);
    is_beginning || lacks(&before.document, &after.document) || lacks_clients(old, new)
}

/// Whether something of `old` is not in `new`; its value may be another.
fn lacks(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => old.iter().any(|(key, old)| new.get(key).is_none_or(|new| lacks(old, new))),
        // Tables, such as listeners; in a list of words one may well be taken out.
        (Value::Array(old), Value::Array(new)) => old.iter().any(Value::is_object) && new.len() < old.len(),
        _ => false,
    }
}

/// Whether somebody who has a key has none any more. Keys of a file are in no document.
fn lacks_clients(old: &Settings, new: &Settings) -> bool {
    let keys = |settings: &Settings| settings.proxy.auth.iter().flat_map(|auth| auth.keys.clone()).collect::<Vec<_>>();
    let left = keys(new);
    keys(old).iter().any(|key| left.iter().all(|other| other.name != key.name))
}

/// What nobody is protected from any more under `new`: a sentence each.
pub fn losses(old: &Settings, new: &Settings) -> Vec<String> {
    let (before, after) = (&old.proxy, &new.proxy);
    let mut losses = Vec::new();
    if before.auth.is_some() && after.auth.is_none() {
        losses.push("`[auth]` is gone: every client is let in".to_owned());
    }
    if before.guard.hosts.is_some() && after.guard.hosts.is_none() {
        losses.push("`guard.hosts` is gone or open: every `Host` is let in".to_owned());
    }
    if before.guard.origins.is_some() && after.guard.origins.is_none() {
        losses.push("`guard.origins` is gone or open: pages of every origin are let in".to_owned());
    }
    for listener in &new.listeners {
        let Some(earlier) = old.listeners.iter().find(|earlier| earlier.address == listener.address) else { continue };
        let asks = |tls: &watchgate_proxy::ServerTls| tls.client_ca.is_some();
        match (&earlier.tls, &listener.tls) {
            (Some(_), None) => losses.push(format!("the listener {} speaks no TLS any more", listener.address)),
            (Some(earlier), Some(now)) if asks(earlier) && !asks(now) => {
                losses.push(format!("the listener {} asks clients for no certificate any more", listener.address));
            }
            _ => {}
        }
    }
    losses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::of_text;

    const WHOLE: &str = "listen = \"127.0.0.1:1\"\n[servers.a]\nurl = \"http://a\"\n[guard]\nhosts = [\"a\", \"b\"]\n\
        [[alerts.rule]]\nname = \"one\"\n[[alerts.rule]]\nname = \"two\"\n[auth]\npass_authorization = true\n";

    #[test]
    fn a_text_that_says_less_may_be_half_of_one() {
        let whole = of_text(WHOLE);
        for end in WHOLE.match_indices('\n').map(|(place, _)| place + 1).filter(|end| *end < WHOLE.len()) {
            assert!(may_be_cut_off(&whole, &of_text(&WHOLE[..end])), "{}", &WHOLE[..end]);
            // With another beginning, which makes it the beginning of nothing.
            let other = WHOLE[..end].replace("127.0.0.1:1", "127.0.0.1:12");
            assert!(may_be_cut_off(&whole, &of_text(&other)), "{other}");
        }
        assert!(may_be_cut_off(&of_text("[proxy]\nmax_sessions = 10\n"), &of_text("[proxy]\nmax_sessions = 1")), "cut off within a number");
        for text in [
            WHOLE.to_owned(),
            format!("{WHOLE}[clients]\ntrusted_hops = 1\n"),
            WHOLE.replace("[\"a\", \"b\"]", "[\"b\"]"),
            WHOLE.replace("true", "false"),
            format!("# another\n{WHOLE}"),
        ] {
            assert!(!may_be_cut_off(&whole, &of_text(&text)), "{text}");
        }
    }

    #[test]
    fn a_client_without_a_key_may_be_cut_off_too() {
        let with = |names: &[&str]| {
            let mut settings = of_text("[auth]\npass_authorization = true\n");
            let key = |name: &&str| watchgate_proxy::ClientKey { name: (*name).to_owned(), digest: [7; 32] };
            settings.proxy.auth.as_mut().unwrap().keys = names.iter().map(key).collect();
            settings
        };
        assert!(may_be_cut_off(&with(&["ann", "bob"]), &with(&["ann"])));
        assert!(!may_be_cut_off(&with(&["ann", "ann"]), &with(&["bob", "ann"])));
    }

    #[test]
    fn what_protects_nobody_any_more_is_said() {
        let check = |old: &str, new: &str, expected: &[&str]| {
            let found = losses(&of_text(old), &of_text(new));
            assert!(found.len() == expected.len() && found.iter().zip(expected).all(|(found, part)| found.contains(part)), "{found:?}");
        };
        check(WHOLE, WHOLE, &[]);
        check("[auth]\n", "", &["every client"]);
        check("", "[auth]\n", &[]);
        check("", "listen = \"0.0.0.0:1\"\n[guard]\norigins = [\"*\"]\n", &["every `Host`", "every origin"]);
        check("[guard]\nhosts = [\"a\"]\n", "[guard]\nhosts = [\"b\"]\n", &[]);
        let listener = |tls: &str| format!("[[listeners]]\naddress = \"127.0.0.1:1\"\n{tls}");
        let (cleartext, plain) = (listener(""), listener("tls = { certificate = \"Cargo.toml\", key = \"Cargo.toml\" }\n"));
        let mutual = plain.replace(" }", ", client_ca = \"Cargo.toml\" }");
        check(&mutual, &plain, &["no certificate"]);
        check(&plain, &cleartext, &["no TLS"]);
        check(&cleartext, &mutual, &[]);
        check(&mutual, "", &[]);
    }
}
