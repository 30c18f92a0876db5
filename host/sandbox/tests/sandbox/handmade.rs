//! Components written by hand, for what no honest guest does and for what the guests of `tests/guests` do not import.

use bytes::Bytes;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A component of this world (the name of a world in `wit/`, or several joined by `+`) around a core module in WebAssembly text.
fn component(worlds: &[&str], module: &str) -> Bytes {
    let mut resolve = Resolve::default();
    let wit = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    resolve.push_dir(wit).unwrap();
    let includes: String = worlds.iter().map(|world| format!("include watchgate:plugin/{world}@0.1.0;\n")).collect();
    let package = resolve.push_str("handmade.wit", &format!("package hand:made;\nworld plugin {{\n{includes}}}")).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let mut module = wat::parse_str(module).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap().into()
}

/// What every module below begins with: memory, an allocator that never frees, and a `start` that is content.
const RUNTIME: &str = r#"
    (import "watchgate:plugin/startup@0.1.0" "[resource-drop]setup" (func $drop-setup (param i32)))
    (memory (export "memory") 2)
    (global $free (mut i32) (i32.const 65536))
    (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
      (global.set $free (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
      (global.get $free)
      (global.set $free (i32.add (global.get $free) (local.get $size))))
    (func (export "watchgate:plugin/lifecycle@0.1.0#start") (param i32) (result i32)
      (call $drop-setup (local.get 0))
      (i32.const 1024))
"#;

/// A health check that asks a server one thing through `mcp-client` and reports the result, or the reason why there is none.
pub fn asker(server: &str, method: &str) -> Bytes {
    let (server_length, method_length) = (server.len(), method.len());
    component(
        &["health-check"],
        &format!(
            r#"(module
              (import "watchgate:plugin/mcp-client@0.1.0" "request" (func $request (param i32 i32 i32 i32 i32 i32 i32)))
              {RUNTIME}
              (data (i32.const 16) "{server}")
              (data (i32.const 128) "{method}")
              (func (export "watchgate:plugin/health@0.1.0#check") (result i32)
                (call $request (i32.const 16) (i32.const {server_length}) (i32.const 128) (i32.const {method_length})
                  (i32.const 0) (i32.const 0) (i32.const 256))
                ;; ok (0) becomes `ok`, an error (1) becomes `failing` (2); result and reason stand at the same place
                (i32.store8 (i32.const 512) (i32.mul (i32.load8_u (i32.const 256)) (i32.const 2)))
                (i32.store (i32.const 516) (i32.load (i32.const 264)))
                (i32.store (i32.const 520) (i32.load (i32.const 268)))
                (i32.const 512)))"#
        ),
    )
}

/// A health check whose report has a status that is none.
pub fn senseless() -> Bytes {
    let module = format!(
        r#"(module {RUNTIME}
          (func (export "watchgate:plugin/health@0.1.0#check") (result i32)
            (i32.store8 (i32.const 512) (i32.const 77))
            (i32.const 512)))"#
    );
    component(&["health-check"], &module)
}

/// A health check that calls `log` without end, with a message of this many bytes.
pub fn chatterer(bytes: usize) -> Bytes {
    let module = format!(
        r#"(module
          (import "watchgate:plugin/log@0.1.0" "log" (func $log (param i32 i32 i32)))
          {RUNTIME}
          (func (export "watchgate:plugin/health@0.1.0#check") (result i32)
            (loop $again (call $log (i32.const 2) (i32.const 2048) (i32.const {bytes})) (br $again))
            (unreachable)))"#
    );
    component(&["health-check"], &module)
}
