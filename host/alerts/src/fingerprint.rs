//! One short name for one alert, the same in every process and version, so that receivers can match a resolution with its firing.

/// 64-bit FNV-1a over the rule's name and the series' labels, as 16 hex digits. (The standard library's hashers may change between releases.)
pub(crate) fn fingerprint(rule: &str, labels: &[(String, String)]) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let texts = std::iter::once(rule).chain(labels.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]));
    for text in texts {
        // 0xff is in no UTF-8 text: it keeps `ab`,`c` and `a`,`bc` apart.
        for byte in text.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn it_is_stable_and_tells_alerts_apart() {
        assert_eq!(
            fingerprint("tool-errors", &labels(&[("server", "weather")])),
            fingerprint("tool-errors", &labels(&[("server", "weather")]))
        );
        let all = [
            fingerprint("a", &[]),
            fingerprint("b", &[]),
            fingerprint("a", &labels(&[("x", "y")])),
            fingerprint("a", &labels(&[("xy", "")])),
            fingerprint("a", &labels(&[("", "xy")])),
            fingerprint("ax", &labels(&[("", "y")])),
        ];
        let distinct: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert!(all.iter().all(|text| text.len() == 16));
    }
}
