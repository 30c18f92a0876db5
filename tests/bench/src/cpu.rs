//! What a process and its workers have cost so far, from `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// User and system time of these processes together.
pub fn time_of(processes: &[u32]) -> Result<Duration> {
    processes.iter().map(|id| of_process(*id)).sum()
}

fn of_process(id: u32) -> Result<Duration> {
    let path = format!("/proc/{id}/stat");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    // The second field is the program's name in parentheses and may hold anything.
    let fields: Vec<&str> = text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    // utime and stime are fields 14 and 15 of the manual, from 1 and with the two that are cut off.
    let spent = ticks(11).zip(ticks(12)).with_context(|| format!("{path}: {text}"))?;
    Ok(Duration::from_secs_f64((spent.0 + spent.1) as f64 / ticks_per_second()))
}

fn ticks_per_second() -> f64 {
    // SAFETY: sysconf takes a number and gives one.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    ticks as f64
}

/// The direct children of a process.
pub fn children_of(id: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_costs_something() {
        let id = std::process::id();
        let before = time_of(&[id]).unwrap();
        let mut sum = 0_u64;
        while time_of(&[id]).unwrap() == before {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        assert!(time_of(&[id, id]).unwrap() > before, "{sum}");
    }
}
