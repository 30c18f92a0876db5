//! Moments on the wall clock, as lines of logs write them.

use std::time::SystemTime;

/// UTC with milliseconds, for example `2026-11-20T12:00:00.000Z`. A moment before 1970 is written as 1970.
pub fn rfc3339(time: SystemTime) -> [u8; 24] {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil_from_days(days);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    for (place, digits, number) in [
        (0, 4, year),
        (5, 2, month),
        (8, 2, day),
        (11, 2, second / 3600),
        (14, 2, second / 60 % 60),
        (17, 2, second % 60),
        (20, 3, u64::from(since.subsec_millis())),
    ] {
        let mut rest = number;
        for byte in text[place..place + digits].iter_mut().rev() {
            *byte = b'0' + u8::try_from(rest % 10).expect("a digit is below 10");
            rest /= 10;
        }
    }
    text
}

/// The Gregorian date `days` after 1970-01-01. Years are counted from March, so that the leap day ends one.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::rfc3339;

    #[test]
    fn times_are_utc_with_milliseconds() {
        let check = |milliseconds: u64, expected: &str| {
            let time = rfc3339(SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds));
            assert_eq!(str::from_utf8(&time).unwrap(), expected);
        };
        check(0, "1970-01-01T00:00:00.000Z");
        check(951_782_400_000, "2000-02-29T00:00:00.000Z");
        check(951_868_799_999, "2000-02-29T23:59:59.999Z");
        check(1_709_251_199_001, "2024-02-29T23:59:59.001Z");
        check(1_735_689_599_000, "2024-12-31T23:59:59.000Z");
        check(4_107_542_400_000, "2100-03-01T00:00:00.000Z");
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH - Duration::from_secs(5)), *b"1970-01-01T00:00:00.000Z");
    }
}
