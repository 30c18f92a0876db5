//! `tracestate` and `baggage`: lists that are handed on as they came, after a look at whether they can be what they claim.

use super::{LONGEST_BAGGAGE, LONGEST_TRACESTATE, MOST_BAGGAGE_MEMBERS, MOST_TRACESTATE_MEMBERS};
use crate::words::InvalidTraceContext;

/// The rules for one of the two.
pub(super) struct List {
    longest: usize,
    most: usize,
    /// Whether a member is one, without the space around it.
    is_member: fn(&[u8]) -> bool,
    too_long: InvalidTraceContext,
    too_many: InvalidTraceContext,
    malformed: InvalidTraceContext,
}

pub(super) const TRACESTATE: List = List {
    longest: LONGEST_TRACESTATE,
    most: MOST_TRACESTATE_MEMBERS,
    is_member: is_tracestate_member,
    too_long: InvalidTraceContext::TracestateTooLong,
    too_many: InvalidTraceContext::TracestateTooMany,
    malformed: InvalidTraceContext::TracestateMalformed,
};

pub(super) const BAGGAGE: List = List {
    longest: LONGEST_BAGGAGE,
    most: MOST_BAGGAGE_MEMBERS,
    is_member: is_baggage_member,
    too_long: InvalidTraceContext::BaggageTooLong,
    too_many: InvalidTraceContext::BaggageTooMany,
    malformed: InvalidTraceContext::BaggageMalformed,
};

/// The values joined by commas; `None` when there are none, or nothing is in them.
pub(super) fn read<'a>(values: impl IntoIterator<Item = &'a [u8]>, list: &List) -> Result<Option<Box<str>>, InvalidTraceContext> {
    let mut joined = String::new();
    let mut members = 0;
    for value in values {
        let comma = usize::from(!joined.is_empty());
        if joined.len() + comma + value.len() > list.longest {
            return Err(list.too_long);
        }
        // Characters outside this range would not be fit for a header, whichever way they came.
        let text = str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')));
        let Some(text) = text else { return Err(list.malformed) };
        for member in text.split(',').map(str::trim_ascii).filter(|member| !member.is_empty()) {
            members += 1;
            if members > list.most {
                return Err(list.too_many);
            }
            if !(list.is_member)(member.as_bytes()) {
                return Err(list.malformed);
            }
        }
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(text.trim_ascii());
    }
    Ok((members > 0).then(|| joined.into()))
}

/// `key=value`, where the key is `name` or `tenant@system`.
fn is_tracestate_member(member: &[u8]) -> bool {
    let Some(equals) = member.iter().position(|byte| *byte == b'=') else { return false };
    let (key, value) = (&member[..equals], &member[equals + 1..]);
    let in_key = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    matches!(key.first(), Some(b'a'..=b'z' | b'0'..=b'9')) && key.len() <= 256 && key.iter().all(in_key) && !value.contains(&b'=')
}

/// `key=value`, perhaps followed by `;property` or `;property=value`; the key is a token of HTTP.
fn is_baggage_member(member: &[u8]) -> bool {
    let Some(equals) = member.iter().position(|byte| *byte == b'=') else { return false };
    let key = member[..equals].trim_ascii();
    let in_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !key.is_empty() && key.iter().all(in_token)
}

#[cfg(test)]
mod tests {
    use super::{BAGGAGE, List, TRACESTATE, read};
    use crate::words::InvalidTraceContext::{
        self, BaggageMalformed, BaggageTooLong, BaggageTooMany, TracestateMalformed, TracestateTooLong, TracestateTooMany,
    };

    fn check(list: &List, values: &[&str], expected: Result<Option<&str>, InvalidTraceContext>) {
        let read = read(values.iter().map(|value| value.as_bytes()), list);
        assert_eq!(read.as_ref().map(Option::as_deref).map_err(|reason| *reason), expected, "{values:?}");
    }

    fn members(count: usize, length: usize) -> String {
        let members: Vec<String> = (0..count).map(|index| format!("k{index:0>width$}=v", width = length - 3)).collect();
        members.join(",")
    }

    #[test]
    fn a_tracestate_that_can_be_one_stands_as_it_came() {
        for text in ["congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "a=1 , ,b=2,", "tenant@system=x/y:z", "0a=\u{9}b"] {
            check(&TRACESTATE, &[text], Ok(Some(text.trim())));
        }
        check(&TRACESTATE, &[], Ok(None));
        check(&TRACESTATE, &["", " , "], Ok(None));
        check(&TRACESTATE, &["a=1", " b=2 "], Ok(Some("a=1,b=2")));
        check(&TRACESTATE, &[&members(32, 8)], Ok(Some(&members(32, 8))));
    }

    #[test]
    fn one_that_cannot_is_dropped_with_a_reason() {
        for text in ["a", "=1", "A=1", "ä=1", "a=\u{1}", "a=1\r\nx: y", "a b=1", "a==1", "@a=1"] {
            check(&TRACESTATE, &[text], Err(TracestateMalformed));
        }
        check(&TRACESTATE, &[&members(33, 8)], Err(TracestateTooMany));
        check(&TRACESTATE, &[&members(2, 256)], Err(TracestateTooLong));
        check(&TRACESTATE, &[&members(1, 256), &members(1, 256)], Err(TracestateTooLong));
        check(&TRACESTATE, &[&"x".repeat(1 << 20)], Err(TracestateTooLong));
    }

    #[test]
    fn baggage_has_bounds_too() {
        for text in ["userId=alice", "a=1;p;q=2 , b=%20", "key=", "a = b", "a=b=c"] {
            check(&BAGGAGE, &[text], Ok(Some(text)));
        }
        for text in ["a", "=b", "a b=1", "a=ü", "a=\u{0}", "(a)=1"] {
            check(&BAGGAGE, &[text], Err(BaggageMalformed));
        }
        check(&BAGGAGE, &["a=1", "b=2"], Ok(Some("a=1,b=2")));
        check(&BAGGAGE, &[&members(64, 8)], Ok(Some(&members(64, 8))));
        check(&BAGGAGE, &[&members(64, 127)], Ok(Some(&members(64, 127))));
        check(&BAGGAGE, &[&members(65, 8)], Err(BaggageTooMany));
        check(&BAGGAGE, &[&members(64, 129)], Err(BaggageTooLong));
        let many = vec!["a=1"; 10_000];
        check(&BAGGAGE, &many, Err(BaggageTooMany));
    }
}
