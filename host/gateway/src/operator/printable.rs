//! Texts of strangers made fit for a terminal, and columns.

use std::fmt::Write;
use std::time::Duration;

/// The text without characters that a terminal obeys: names of tools and messages of errors come from servers and clients.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        // Formatting characters (bidirectional overrides, zero width) would let a text pose as another.
        let obeyed = character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        match obeyed {
            true => write!(shown, "{}", character.escape_default()).expect("a String takes any text"),
            false => shown.push(character),
        }
    }
    shown
}

/// The text cut or filled to exactly so many characters.
pub fn fitted(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return format!("{text}{}", " ".repeat(width - length));
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// A duration in the unit that leaves the fewest digits.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        0.0..0.001 => format!("{:.0}us", seconds * 1e6),
        0.001..1.0 => format!("{:.1}ms", seconds * 1e3),
        1.0..120.0 => format!("{seconds:.2}s"),
        _ => format!("{:.1}m", seconds / 60.0),
    }
}

/// Rows with every column as wide as its widest cell; the last is not filled.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| fitted(cell, *width));
        let line = cells.collect::<Vec<_>>().join("  ");
        format!("{}\n", line.trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_obey_nothing_that_is_printed() {
        let check = |text: &str, expected: &str| assert_eq!(printable(text), expected);
        check("forecast für 東京", "forecast für 東京");
        check("\u{1b}[2Jgone\r\n\u{7}", "\\u{1b}[2Jgone\\r\\n\\u{7}");
        check("a\u{202e}b\u{9b}c", "a\\u{202e}b\\u{9b}c");
    }

    #[test]
    fn columns_are_as_wide_as_asked() {
        let check = |text: &str, width: usize, expected: &str| assert_eq!(fitted(text, width), expected);
        check("ab", 4, "ab  ");
        check("abcd", 4, "abcd");
        check("ümlaut", 4, "üml…");
        let rows = [vec!["A".to_owned(), "B".to_owned()], vec!["long".to_owned(), "x".to_owned()]];
        assert_eq!(table(&rows), "A     B\nlong  x\n");
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn durations_are_short() {
        let check = |microseconds: u64, expected: &str| assert_eq!(duration(Duration::from_micros(microseconds)), expected);
        check(0, "0us");
        check(250, "250us");
        check(1_250, "1.2ms");
        check(400_000, "400.0ms");
        check(2_500_000, "2.50s");
        check(600_000_000, "10.0m");
    }
}
