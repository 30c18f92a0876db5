//! The files that are refused, each with the reason code that operators are shown.

use watchgate_tests::plugins::guest;

/// A plugin's files that do not go live.
pub struct Broken {
    /// What is wrong with it.
    pub what: &'static str,
    pub component: Vec<u8>,
    /// Empty: no settings.
    pub settings: &'static str,
    /// Its code.
    pub reason: &'static str,
}

fn broken(reason: &'static str, what: &'static str, component: impl AsRef<[u8]>, settings: &'static str) -> Broken {
    Broken { what, component: component.as_ref().to_vec(), settings, reason }
}

/// A component with these imports and exports, each an empty instance.
fn names(imports: &[&str], exports: &[&str]) -> Vec<u8> {
    let imports: String = imports.iter().map(|name| format!("(import \"{name}\" (instance))")).collect();
    let exports: String = exports.iter().map(|name| format!("(export \"{name}\" (instance $empty))")).collect();
    wat::parse_str(format!("(component {imports} (instance $empty) {exports})")).unwrap()
}

/// Bytes without order, the same in each run.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    })
    .take(length)
    .collect()
}

/// Every row of the table, and more.
pub fn all() -> Vec<Broken> {
    const LIFECYCLE: &str = "watchgate:plugin/lifecycle@0.1.0";
    const REDACTION: &str = "watchgate:plugin/redaction@0.1.0";
    let probe = guest("probe");
    vec![
        broken("empty", "an empty file", "", ""),
        broken("malformed", "half a component", &probe[..probe.len() / 2], ""),
        broken("malformed", "all but the last byte", &probe[..probe.len() - 1], ""),
        broken("malformed", "noise behind a header", [b"\0asm\x0d\0\x01\0", &noise(5000)[..]].concat(), ""),
        broken("not-wasm", "noise", noise(5000), ""),
        broken("not-wasm", "a page", "<html>404</html>", ""),
        broken("core-module", "a core module", b"\0asm\x01\0\0\0", ""),
        broken("no-kind", "a component with none of the kinds", names(&[], &[]), ""),
        broken("no-kind", "a kind that its settings list and it has not", guest("redactor"), "kinds = [\"health\"]\n"),
        broken("kind-shape", "a kind without its function", names(&[], &[LIFECYCLE, REDACTION]), ""),
        broken("wit-version", "a later contract", names(&[], &[LIFECYCLE, "watchgate:plugin/redaction@0.9.0"]), ""),
        broken("unknown-import", "somebody else's import", names(&["acme:printer/paper@1.0.0"], &[LIFECYCLE, REDACTION]), ""),
        broken("import-not-granted", "the network without a grant", guest("fetch"), ""),
        broken("start-error", "a start that errs", &probe, "config.start = \"err\"\n"),
        broken("start-error", "a setting that it does not know", &probe, "config.no_such = 1\n"),
        broken("start-trap", "a start that traps", &probe, "config.start = \"trap\"\n"),
        broken("start-trap", "a start that takes all memory", &probe, "config.start = \"grow\"\n"),
        broken("start-timeout", "a start that loops", &probe, "config.start = \"loop\"\n"),
        broken("trial-failed", "a policy that traps", &probe, "config.redact = \"trap\"\n"),
        broken("trial-failed", "a policy that loops", &probe, "config.redact = \"loop\"\n"),
        broken("trial-failed", "a policy that grows", &probe, "config.redact = \"grow\"\n"),
        broken("trial-failed", "a policy that returns no JSON", &probe, "config.redact = \"not-json\"\n"),
        broken("trial-failed", "a derivation that traps", &probe, "config.observe = \"trap\"\n"),
        broken("over-limits", "less memory than it begins with", &probe, "limits.memory = \"64KiB\"\n"),
        broken("no-capacity", "more instances than there are", &probe, "limits.max_instances = 1000\n"),
        broken("bad-settings", "settings with a misspelt key", &probe, "limits.memroy = \"16MiB\"\n"),
        broken("bad-settings", "settings that are not TOML", &probe, "limits = {\n"),
        broken("bad-settings", "a variable that is not granted", &probe, "[config]\nwhen = { env = \"HOME\" }\n"),
    ]
}
