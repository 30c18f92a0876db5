//! Every reason why a component is not loaded, and that nothing is left behind then.

use std::collections::HashSet;

use bytes::Bytes;
use serde_json::json;
use watchgate_hooks::{Generation, PluginKind};
use watchgate_sandbox::{LoadCode, PluginSettings, PoolConfig};

use crate::rig::{Rig, configured, guest};

/// A component with these imports and exports, each an empty instance, and a lifecycle that is one too.
fn component(imports: &[&str], exports: &[&str]) -> Bytes {
    let mut text = "(component\n".to_owned();
    for name in imports {
        text += &format!("(import \"{name}\" (instance))\n");
    }
    text += "(instance $empty)\n";
    for name in exports {
        text += &format!("(export \"{name}\" (instance $empty))\n");
    }
    text += ")";
    wat::parse_str(text).unwrap().into()
}

const LIFECYCLE: &str = "watchgate:plugin/lifecycle@0.1.0";
const REDACTION: &str = "watchgate:plugin/redaction@0.1.0";

fn shaped_with(import: &str) -> Bytes {
    component(&[import], &[LIFECYCLE, REDACTION])
}

/// A component whose `start` and `redact` take and return nothing.
fn other_functions() -> Bytes {
    let text = format!(
        "(component
          (core module $module (func (export \"nothing\")))
          (core instance $code (instantiate $module))
          (func $nothing (canon lift (core func $code \"nothing\")))
          (instance $lifecycle (export \"start\" (func $nothing)))
          (instance $redaction (export \"redact\" (func $nothing)))
          (export \"{LIFECYCLE}\" (instance $lifecycle))
          (export \"{REDACTION}\" (instance $redaction)))"
    );
    wat::parse_str(text).unwrap().into()
}

fn precompiled() -> Bytes {
    let engine = wasmtime::Engine::default();
    engine.precompile_component(&component(&[], &[])).unwrap().into()
}

fn probe_that(start: &str) -> (Bytes, PluginSettings) {
    (guest("guest_probe"), configured(json!({ "start": start })))
}

fn plain(bytes: impl Into<Bytes>) -> (Bytes, PluginSettings) {
    (bytes.into(), PluginSettings::default())
}

fn with_settings(bytes: Bytes, change: impl FnOnce(&mut PluginSettings)) -> (Bytes, PluginSettings) {
    let mut settings = PluginSettings::default();
    change(&mut settings);
    (bytes, settings)
}

/// What is refused, and why.
fn cases() -> Vec<(LoadCode, &'static str, (Bytes, PluginSettings))> {
    let probe = guest("guest_probe");
    let cut = probe.slice(..probe.len() / 2);
    let exporting_a_component = format!(
        "(component (component $inner) (instance $empty) (export \"inner\" (component $inner))
          (export \"{LIFECYCLE}\" (instance $empty)) (export \"{REDACTION}\" (instance $empty)))"
    );
    vec![
        (LoadCode::Empty, "no bytes", plain("")),
        (LoadCode::NotWasm, "text", plain("this is not WebAssembly")),
        (LoadCode::NotWasm, "random bytes", plain(vec![0x9e, 0x37, 0x79, 0xb9, 0x7f, 0x4a, 0x7c, 0x15])),
        (LoadCode::Precompiled, "machine code", plain(precompiled())),
        (LoadCode::CoreModule, "a core module", plain(wat::parse_str("(module)").unwrap())),
        (LoadCode::Malformed, "half a magic number", plain(&b"\0as"[..])),
        (LoadCode::Malformed, "half a component", plain(cut)),
        (LoadCode::Malformed, "random bytes after the header", plain(&b"\0asm\x0d\0\x01\0\x9e\x37\x79\xb9"[..])),
        (LoadCode::NoKind, "a component that exports nothing", plain(component(&[], &[]))),
        (LoadCode::NoKind, "a kind that is wanted and not there", {
            with_settings(guest("guest_redactor"), |settings| settings.kinds = Some([PluginKind::Health].into()))
        }),
        (LoadCode::KindShape, "no lifecycle", plain(component(&[], &[REDACTION]))),
        (LoadCode::KindShape, "a kind without its function", plain(component(&[], &[LIFECYCLE, REDACTION]))),
        (LoadCode::KindShape, "a kind whose function is another", plain(other_functions())),
        (LoadCode::WitVersion, "a later contract", plain(component(&[], &[LIFECYCLE, "watchgate:plugin/redaction@0.2.0"]))),
        (LoadCode::WitVersion, "a later import", plain(shaped_with("watchgate:plugin/log@1.0.0"))),
        (LoadCode::WitVersion, "an import without version", plain(shaped_with("watchgate:plugin/log"))),
        (LoadCode::ImportNotGranted, "a server not granted", plain(shaped_with("watchgate:plugin/mcp-client@0.1.0"))),
        (LoadCode::ImportNotGranted, "the network not granted", plain(guest("guest_fetch"))),
        (LoadCode::UnknownImport, "somebody else's", plain(shaped_with("acme:printer/paper@1.0.0"))),
        (LoadCode::UnknownImport, "ours that is not there", plain(shaped_with("watchgate:plugin/state@0.1.0"))),
        (LoadCode::BadGrant, "a URL for a host", {
            with_settings(guest("guest_fetch"), |settings| settings.grants.http = vec!["https://example.com".to_owned()])
        }),
        (LoadCode::Compile, "what wasmtime cannot compile", plain(wat::parse_str(exporting_a_component).unwrap())),
        (LoadCode::OverLimits, "less memory than it begins with", {
            with_settings(probe.clone(), |settings| settings.limits.memory_bytes = 64 << 10)
        }),
        (LoadCode::OverLimits, "more memory than the pool has", {
            with_settings(probe.clone(), |settings| settings.limits.memory_bytes = 1 << 40)
        }),
        (LoadCode::NoCapacity, "more instances than the pool has", {
            with_settings(probe, |settings| settings.limits.max_instances = 1000)
        }),
        (LoadCode::StartError, "a start that errs", probe_that("err")),
        (LoadCode::StartError, "a configuration that is not its own", { (guest("guest_probe"), configured(json!({ "no-such-key": 1 }))) }),
        (LoadCode::StartTrap, "a start that traps", probe_that("trap")),
        (LoadCode::StartTrap, "a start that takes all memory", probe_that("grow")),
        (LoadCode::StartTimeout, "a start that loops", probe_that("loop")),
        (LoadCode::TrialFailed, "a trial call that traps", (guest("guest_probe"), configured(json!({ "redact": "trap" })))),
        (LoadCode::TrialFailed, "a trial operation that traps", (guest("guest_probe"), configured(json!({ "observe": "trap" })))),
        (LoadCode::TrialFailed, "a trial alert that traps", (guest("guest_probe"), configured(json!({ "notify": "trap" })))),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_bad_component_is_refused_with_its_code_and_leaves_nothing() {
    let rig = Rig::new();
    let mut seen = HashSet::new();
    for (expected, what, (bytes, settings)) in cases() {
        match rig.try_live("refused", bytes, settings).await {
            Ok(_) => panic!("{what} was loaded"),
            Err(error) => assert_eq!(error.code, expected, "{what}: {error}"),
        }
        let usage = rig.sandbox.usage();
        assert_eq!((usage.reserved, usage.existing), (0, Some(0)), "{what} left something in the pool");
        seen.insert(expected);
    }
    let unseen: Vec<_> = LoadCode::ALL.iter().filter(|code| !seen.contains(*code)).collect();
    assert!(unseen.is_empty(), "no case for {unseen:?}");
}

#[tokio::test]
async fn reservations_of_all_generations_must_fit_the_pool() {
    let rig = Rig::with(PoolConfig { instances: 20, max_memory: 64 << 20 }, Rig::no_servers());
    let load = |generation| rig.sandbox.load("redactor", guest("guest_redactor"), PluginSettings::default(), Generation(generation));
    let first = load(1).await.unwrap();
    let second = load(2).await.unwrap();
    assert_eq!(rig.sandbox.usage().reserved, 16);
    assert_eq!(load(3).await.err().map(|error| error.code), Some(LoadCode::NoCapacity));
    drop(first);
    let third = load(3).await;
    assert!(third.is_ok(), "a dropped generation's places were not given back");
    drop((second, third));
    assert_eq!(rig.sandbox.usage().reserved, 0);
}

/// A component with one byte changed, the same for the same `round`.
fn damaged(whole: &Bytes, round: usize) -> Bytes {
    let mut bytes = whole.to_vec();
    let place = round.wrapping_mul(0x9e37_79b9) % bytes.len();
    bytes[place] ^= 1 << (round % 8);
    bytes.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_components_are_refused_or_run_and_leave_nothing() {
    let rig = Rig::new();
    let whole = guest("guest_bare");
    let cut = (0..100).map(|part| whole.slice(..whole.len() * part / 100));
    let damaged = (0..200).map(|round| damaged(&whole, round));
    let mut refused = 0;
    for bytes in cut.chain(damaged) {
        refused += usize::from(rig.try_live("damaged", bytes, PluginSettings::default()).await.is_err());
        assert_eq!((rig.sandbox.usage().reserved, rig.sandbox.usage().existing), (0, Some(0)));
    }
    assert!(refused >= 100, "only {refused} were refused, and 100 were cut");
}
