//! Durations and moments as operators write them. Pure.

use std::time::{Duration, SystemTime};

/// Reads `250us`, `300ms`, `10s`, `1.5m`, `2h` or `7d`.
///
/// # Errors
/// A sentence that completes "NAME ...".
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let refused = || format!("must be a duration such as 300ms, 10s, 5m or 1h, not `{text}`");
    let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(refused()),
    };
    let number: f64 = number.parse().map_err(|_| refused())?;
    Duration::try_from_secs_f64(number * unit).map_err(|_| refused())
}

/// Reads a moment: `2026-11-20T12:00:00Z` with or without parts of a second, seconds since 1970, or a duration, which means so long ago.
pub(crate) fn parse_moment(text: &str, now: SystemTime) -> Result<SystemTime, String> {
    let refused = || format!("must be a moment such as 2026-11-20T12:00:00Z, or a duration such as 10m for so long ago, not `{text}`");
    if let Ok(ago) = parse_duration(text) {
        return Ok(now.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH).max(SystemTime::UNIX_EPOCH));
    }
    let since = match text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        true => text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        false => rfc3339(text),
    };
    since.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since)).ok_or_else(refused)
}

/// The time since 1970 of a moment in UTC.
fn rfc3339(text: &str) -> Option<Duration> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let number = |text: &str, digits: usize| {
        (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse::<u64>().ok()).flatten()
    };
    let mut date = date.splitn(3, '-');
    let (year, month, day) = (number(date.next()?, 4)?, number(date.next()?, 2)?, number(date.next()?, 2)?);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.splitn(3, ':');
    let (hour, minute, second) = (number(time.next()?, 2)?, number(time.next()?, 2)?, number(time.next()?, 2)?);
    let fraction = number(fraction, fraction.len()).and_then(|_| format!("0.{fraction}").parse().ok())?;
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let whole = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(Duration::from_secs(whole) + Duration::try_from_secs_f64(fraction).ok()?)
}

/// Days from 1970-01-01 to a Gregorian date. Years are counted from March, so that the leap day ends one.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        let check =
            |text: &str, expected: Option<u64>| assert_eq!(parse_duration(text).ok(), expected.map(Duration::from_micros), "{text}");
        check("250us", Some(250));
        check("300ms", Some(300_000));
        check("1.5s", Some(1_500_000));
        check("10m", Some(600_000_000));
        check("0s", Some(0));
        check("1d", Some(86_400_000_000));
        for wrong in ["", "10", "s", "-1s", "1 s", "1..5s", "1e3s", "infs", "99999999999999999999999d", "10M"] {
            check(wrong, None);
        }
    }

    #[test]
    fn moments_are_utc_or_so_long_ago() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let check = |text: &str, expected: Option<u64>| {
            let expected = expected.map(|milliseconds| SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds));
            assert_eq!(parse_moment(text, now).ok(), expected, "{text}");
        };
        check("1970-01-01T00:00:00Z", Some(0));
        check("2000-02-29T23:59:59.500Z", Some(951_868_799_500));
        check("2024-12-31T23:59:59Z", Some(1_735_689_599_000));
        check("1700000000", Some(1_700_000_000_000));
        check("10s", Some(990_000));
        check("1d", Some(0));
        for wrong in [
            "",
            "yesterday",
            "2024-13-01T00:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01",
            "T",
            "1969-01-01T00:00:00Z",
            "2024-1-01T00:00:00Z",
            "2024-01-01T00:00:00.Z",
            ".",
        ] {
            check(wrong, None);
        }
    }
}
