//! What the probe does to messages.

use watchgate_plugin::{Message, Surface, Verdict, info};

use crate::{Probe, evil};

/// Acts as `config.redact` says, on messages that hold `config.when`.
pub fn redact(probe: &Probe, message: &Message) -> Verdict {
    let surface = match message.surface() {
        Surface::Wire => "wire",
        Surface::Telemetry => "telemetry",
    };
    probe.redacted.add(1.0, &[surface]);
    if probe.config.loops_now() {
        evil::must_do_evil("loop");
    }
    let body = message.body();
    let when = probe.config.when.as_bytes();
    if find(&body, when).is_none() {
        return Verdict::Pass;
    }
    match probe.config.redact.as_str() {
        "pass" => Verdict::Pass,
        "deny" => Verdict::Deny("the probe was told to deny".to_owned()),
        "not-json" => edit(message.set_body(b"{\"broken\"")),
        "change-id" => edit(message.set_json("/id", "\"another\"")),
        "huge-log" => {
            (0..1000).for_each(|line| info!("{line} {}", "x".repeat(10_000)));
            Verdict::Pass
        }
        "overlap-masks" => {
            let (start, end) = first_string(&body);
            let _refused_or_not = message.mask(start, end, "first");
            edit_anyway(message.mask(start, end, "second"))
        }
        "out-of-range" => edit_anyway(message.mask(0, u32::MAX, "all")),
        "cut-escape" => match find(&body, b"\\") {
            Some(escape) => edit_anyway(message.mask(escape as u32 + 1, escape as u32 + 2, "x")),
            None => Verdict::Pass,
        },
        "count-instances" => mask_all(message, &body, when, &probe.calls.to_string()),
        other => edits_with_arguments(message, &body, other),
    }
}

fn edits_with_arguments(message: &Message, body: &[u8], action: &str) -> Verdict {
    match action.split_once(':') {
        Some(("mask", words)) => {
            let (from, to) = words.split_once('=').expect("mask:FROM=TO");
            mask_all(message, body, from.as_bytes(), to)
        }
        Some(("set", words)) => {
            let (pointer, json) = words.split_once('=').expect("set:POINTER=JSON");
            edit(message.set_json(pointer, json))
        }
        Some(("body", text)) => edit(message.set_body(text.as_bytes())),
        _ => {
            evil::must_do_evil(action);
            Verdict::Pass
        }
    }
}

/// Masks every occurrence of `word` in the raw body.
fn mask_all(message: &Message, body: &[u8], word: &[u8], replacement: &str) -> Verdict {
    let mut from = 0;
    while let Some(found) = find(&body[from..], word) {
        let start = from + found;
        from = start + word.len();
        if let Verdict::Deny(reason) = edit(message.mask(start as u32, from as u32, replacement)) {
            return Verdict::Deny(reason);
        }
    }
    Verdict::Pass
}

/// What an honest plugin does about an edit that the gateway refuses.
fn edit(outcome: Result<(), String>) -> Verdict {
    match outcome {
        Ok(()) => Verdict::Pass,
        Err(reason) => Verdict::Deny(format!("edit refused: {reason}")),
    }
}

/// What a careless plugin does about it.
fn edit_anyway(outcome: Result<(), String>) -> Verdict {
    if let Err(reason) = outcome {
        info!("edit refused: {reason}");
    }
    Verdict::Pass
}

/// The content of the first string of a JSON text without escapes in it.
fn first_string(body: &[u8]) -> (u32, u32) {
    let start = find(body, b"\"").map_or(0, |quote| quote + 1);
    let end = find(&body[start..], b"\"").map_or(body.len(), |length| start + length);
    (start as u32, end as u32)
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    if word.is_empty() {
        return Some(0);
    }
    text.windows(word.len()).position(|window| window == word)
}
