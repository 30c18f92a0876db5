//! The format of pprof: profile.proto of github.com/google/pprof, as far as CPU profiles need it.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use pprof::{Frames, Symbol};
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
}

/// Names are places in the string table, everywhere below too.
#[derive(Clone, Copy, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    /// The innermost first.
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    text: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    /// Several where functions are inlined, the innermost first.
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

/// Writes stacks with how often each was seen.
pub(crate) fn encode(
    stacks: impl IntoIterator<Item = (Frames, isize)>,
    started: SystemTime,
    duration: Duration,
    frequency: i32,
) -> Vec<u8> {
    let mut tables = Tables::default();
    // By the format the first text is empty.
    tables.text("");
    let samples = ValueType { kind: tables.text("samples"), unit: tables.text("count") };
    let cpu = ValueType { kind: tables.text("cpu"), unit: tables.text("nanoseconds") };
    let thread = tables.text("thread");
    let period = 1_000_000_000 / i64::from(frequency.max(1));
    let sample = stacks.into_iter().map(|(stack, count)| {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        Sample {
            location_id: stack.frames.iter().map(|frame| tables.location(frame)).collect(),
            value: vec![count, count.saturating_mul(period)],
            label: vec![Label { key: thread, text: tables.text(&stack.thread_name_or_id()) }],
        }
    });
    let sample = sample.collect();
    let profile = Profile {
        sample_type: vec![samples, cpu],
        sample,
        location: tables.locations,
        function: tables.functions,
        string_table: tables.texts,
        time_nanos: nanos(started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()),
        duration_nanos: nanos(duration),
        period_type: Some(cpu),
        period,
    };
    profile.encode_to_vec()
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// What samples refer to, each written once. Ids count from 1, places of texts from 0.
#[derive(Default)]
struct Tables {
    texts: Vec<String>,
    text_places: HashMap<String, i64>,
    functions: Vec<Function>,
    function_ids: HashMap<(i64, i64), u64>,
    locations: Vec<Location>,
    location_ids: HashMap<Vec<(u64, i64)>, u64>,
}

impl Tables {
    fn text(&mut self, text: &str) -> i64 {
        if let Some(place) = self.text_places.get(text) {
            return *place;
        }
        let place = i64::try_from(self.texts.len()).unwrap_or(i64::MAX);
        self.texts.push(text.to_owned());
        self.text_places.insert(text.to_owned(), place);
        place
    }

    fn function(&mut self, symbol: &Symbol) -> u64 {
        let (name, system_name, filename) = (self.text(&symbol.name()), self.text(&symbol.sys_name()), self.text(&symbol.filename()));
        let id = self.functions.len() as u64 + 1;
        let known = *self.function_ids.entry((system_name, filename)).or_insert(id);
        if known == id {
            self.functions.push(Function { id, name, system_name, filename });
        }
        known
    }

    fn location(&mut self, frame: &[Symbol]) -> u64 {
        let lines: Vec<(u64, i64)> = frame.iter().map(|symbol| (self.function(symbol), symbol.lineno().into())).collect();
        let id = self.locations.len() as u64 + 1;
        let known = *self.location_ids.entry(lines.clone()).or_insert(id);
        if known == id {
            let line = lines.into_iter().map(|(function_id, line)| Line { function_id, line }).collect();
            self.locations.push(Location { id, line });
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(name: &str, line: u32) -> Symbol {
        Symbol { name: Some(name.as_bytes().to_vec()), addr: None, lineno: Some(line), filename: Some("src/a.rs".into()) }
    }

    fn stack(thread: &str, frames: Vec<Vec<Symbol>>) -> Frames {
        Frames { frames, thread_name: thread.to_owned(), thread_id: 1, sample_timestamp: SystemTime::UNIX_EPOCH }
    }

    #[test]
    fn stacks_share_functions_and_locations() {
        let stacks = vec![
            (stack("worker", vec![vec![symbol("inlined", 7), symbol("leaf", 8)], vec![symbol("main", 1)]]), 3),
            (stack("other", vec![vec![symbol("main", 2)], vec![symbol("main", 1)]]), 2),
        ];
        let started = SystemTime::UNIX_EPOCH + Duration::from_secs(5);
        let profile = Profile::decode(&encode(stacks, started, Duration::from_secs(2), 100)[..]).unwrap();
        let text = |place: i64| profile.string_table[usize::try_from(place).unwrap()].as_str();
        assert_eq!(text(0), "");
        assert_eq!((profile.function.len(), profile.location.len()), (3, 3));
        assert_eq!((profile.time_nanos, profile.duration_nanos, profile.period), (5_000_000_000, 2_000_000_000, 10_000_000));
        let told: Vec<(Vec<&str>, Vec<i64>, &str)> = profile
            .sample
            .iter()
            .map(|sample| {
                let lines = sample.location_id.iter().flat_map(|id| &profile.location[usize::try_from(*id).unwrap() - 1].line);
                let names = lines.map(|line| text(profile.function[usize::try_from(line.function_id).unwrap() - 1].name)).collect();
                (names, sample.value.clone(), text(sample.label[0].text))
            })
            .collect();
        assert_eq!(told[0], (vec!["inlined", "leaf", "main"], vec![3, 30_000_000], "worker"));
        assert_eq!(told[1], (vec!["main", "main"], vec![2, 20_000_000], "other"));
    }
}
