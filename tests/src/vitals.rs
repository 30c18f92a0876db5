//! What the kernel says of a running process: its open descriptors and its memory.

use std::fs;
use std::io;

/// What each open descriptor of the process leads to, sorted.
///
/// # Errors
/// When the process has ended.
pub fn descriptors(process: u32) -> io::Result<Vec<String>> {
    let folder = fs::read_dir(format!("/proc/{process}/fd"))?;
    // One that closes while it is looked at is not open.
    let links = folder.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let mut found: Vec<String> = links.map(|link| link.to_string_lossy().into_owned()).collect();
    found.sort_unstable();
    Ok(found)
}

/// The memory of the process that is in use now, in bytes.
///
/// # Errors
/// When the process has ended.
pub fn resident(process: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.map(|kilobytes| kilobytes * 1024).ok_or_else(|| io::Error::other("the kernel does not say"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_file_is_seen() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let own = std::process::id();
        let path = file.path().to_string_lossy().into_owned();
        assert!(descriptors(own).unwrap().contains(&path));
        drop(file);
        assert!(!descriptors(own).unwrap().contains(&path));
        assert!(resident(own).unwrap() > 1 << 20);
    }
}
