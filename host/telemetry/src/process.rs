//! What the operating system says about this process, read from `/proc` at each scrape. Elsewhere the metrics are absent.

use std::fs;

use crate::families::Families;

/// Writes the current figures into the `process_*` families; leaves out what cannot be read.
pub(crate) fn read_into(families: &Families) {
    if let Ok(stat) = fs::read_to_string("/proc/self/stat")
        && let Some(stat) = Stat::parse(&stat)
    {
        let ticks = ticks_per_second();
        let cpu = families.process_cpu.with(&[]);
        cpu.inc_by((stat.cpu_ticks / ticks - cpu.get()).max(0.0));
        families.process_threads.with(&[]).set(stat.threads);
        if let Some(boot) = fs::read_to_string("/proc/stat").ok().as_deref().and_then(boot_time) {
            families.process_start_time.with(&[]).set(boot + stat.start_ticks / ticks);
        }
    }
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        for (family, field) in [(&families.process_resident, "VmRSS:"), (&families.process_virtual, "VmSize:")] {
            if let Some(kib) = number_after(&status, field) {
                family.with(&[]).set(kib.saturating_mul(1024));
            }
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // The listing holds the descriptor it is read through.
        families.process_open_fds.with(&[]).set(i64::try_from(open.count().saturating_sub(1)).unwrap_or(i64::MAX));
    }
    if let Some(most) = fs::read_to_string("/proc/self/limits").ok().as_deref().and_then(|limits| number_after(limits, "Max open files")) {
        families.process_max_fds.with(&[]).set(most);
    }
}

struct Stat {
    cpu_ticks: f64,
    start_ticks: f64,
    threads: i64,
}

impl Stat {
    /// By proc(5): the second field is the command in parentheses and may hold anything, so fields count from the last one.
    fn parse(stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self { cpu_ticks: field(14)? + field(15)?, start_ticks: field(22)?, threads: fields.get(20 - 3)?.parse().ok()? })
    }
}

/// Seconds since the Unix epoch at which the machine started.
fn boot_time(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// The first number on the line that starts with `field`; `None` for `unlimited`.
fn number_after(text: &str, field: &str) -> Option<i64> {
    text.lines().find_map(|line| line.strip_prefix(field))?.split_ascii_whitespace().next()?.parse().ok()
}

fn ticks_per_second() -> f64 {
    // SAFETY: sysconf reads a constant of the system and touches no memory of ours.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    i32::try_from(ticks).ok().filter(|ticks| *ticks > 0).map_or(100.0, f64::from)
}

#[cfg(test)]
mod tests {
    use super::{Stat, boot_time, number_after};

    #[test]
    fn the_command_may_hold_anything() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 150 0 0 20 0 9 0 12345 1000 20 18446744073709551615";
        let parsed = Stat::parse(stat).unwrap();
        assert_eq!((parsed.cpu_ticks, parsed.start_ticks, parsed.threads), (400.0, 12_345.0, 9));
        assert!(Stat::parse("7 (cut").is_none() && Stat::parse("7 (cut) S 1").is_none() && Stat::parse("").is_none());
    }

    #[test]
    fn fields_are_found_by_name() {
        assert_eq!(number_after("VmPeak:\t  9 kB\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12));
        assert_eq!(number_after("Max open files            1024                 524288               files", "Max open files"), Some(1024));
        assert_eq!(number_after("Max open files            unlimited            unlimited            files", "Max open files"), None);
        assert_eq!(boot_time("cpu 1 2\nbtime 1700000000\n"), Some(1_700_000_000.0));
    }
}
