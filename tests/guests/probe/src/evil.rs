//! What no plugin should do: trap, loop, grow, wait, leak.

use core::hint::black_box;
use core::time::Duration;

/// Does `trap`, `loop`, `grow` (memory, without end), `wait` (an hour), `leak-handles` (without end) or `flood-stderr`; any other name is
/// an error.
pub fn do_evil(name: &str) -> Result<(), String> {
    match name {
        "trap" => panic!("the probe was told to trap"),
        "loop" => loop {
            black_box(0);
        },
        "grow" => grow(),
        "wait" => std::thread::sleep(Duration::from_secs(3600)),
        "leak-handles" => loop {
            core::mem::forget(wasip2::clocks::monotonic_clock::subscribe_duration(u64::MAX));
        },
        "flood-stderr" => (0..10_000).for_each(|line| eprintln!("line {line} {}", "x".repeat(1000))),
        other => return Err(format!("the probe does not know `{other}`")),
    }
    Ok(())
}

/// As [`do_evil`]; an unknown name traps.
pub fn must_do_evil(name: &str) {
    if let Err(reason) = do_evil(name) {
        panic!("{reason}");
    }
}

fn grow() {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    loop {
        kept.push(vec![1; 1 << 20]);
        black_box(&kept);
    }
}
