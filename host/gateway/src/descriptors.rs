//! How many files the process may open, and how many client connections that is enough for.

/// Of the files that may be open, this part at least is kept for operators, plugins, logs and whatever else the process needs: one of so many.
const RESERVE_SHARE: u64 = 4;
/// No more than this many: the admin listener has up to 256 connections.
const MOST_RESERVED: u64 = 512;

/// Lets the process open as many files as the system allows it without being asked: the soft limit is often 1024, which is meant for programs
/// that use `select`. Where that fails, the soft limit counts.
pub fn raise() {
    let Some(mut limits) = limits() else { return };
    if limits.rlim_cur < limits.rlim_max {
        limits.rlim_cur = limits.rlim_max;
        // SAFETY: reads the value that is passed, and nothing else.
        let _ = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limits) };
    }
}

/// Files that may be open at once; `None` when the system does not tell.
pub fn most() -> Option<u64> {
    limits().map(|limits| limits.rlim_cur)
}

/// Client connections that so many files are enough for. Each may need a second one, to its server.
pub fn connections_of(files: u64) -> usize {
    let reserve = (files / RESERVE_SHARE).min(MOST_RESERVED);
    usize::try_from((files - reserve) / 2).unwrap_or(usize::MAX).max(1)
}

fn limits() -> Option<libc::rlimit> {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes to the value that is passed, and nothing else.
    (unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limits) } == 0).then_some(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_servers_and_for_everything_else() {
        let check = |files: u64, expected: usize| assert_eq!(connections_of(files), expected, "{files}");
        check(0, 1);
        check(200, 75);
        check(1024, 384);
        check(2048, 768);
        check(20_512, 10_000);
        check(1 << 20, (1 << 19) - 256);
    }

    #[test]
    fn as_many_files_as_the_system_allows_may_be_opened() {
        raise();
        let limits = limits().unwrap();
        assert_eq!(limits.rlim_cur, limits.rlim_max);
        assert_eq!(most(), Some(limits.rlim_max));
    }
}
