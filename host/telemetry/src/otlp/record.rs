//! One OTLP log record, written straight in its wire form: a line goes out for each exchange, and building the generated types first
//! costs several times as much.
//!
//! Field numbers are those of `opentelemetry/proto/logs/v1/logs.proto` and `common/v1/common.proto`.

/// Wire types of protobuf.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;

/// A record that is being written.
#[derive(Debug, Default)]
pub(super) struct RecordWriter(Vec<u8>);

/// The value of an attribute or of the body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Any<'a> {
    Text(&'a str),
    Flag(bool),
    Int(i64),
    Number(f64),
}

impl Any<'_> {
    fn length(self) -> usize {
        match self {
            Self::Text(text) => field_length(text.len()),
            Self::Flag(_) => 2,
            Self::Int(number) => 1 + varint_length(number.cast_unsigned()),
            Self::Number(_) => 9,
        }
    }
}

impl RecordWriter {
    /// Nanoseconds since 1970: when it happened, and when that was noticed.
    pub(super) fn times(&mut self, happened: u64, observed: u64) {
        for (field, time) in [(1, happened), (11, observed)] {
            self.key(field, FIXED64);
            self.0.extend_from_slice(&time.to_le_bytes());
        }
    }

    /// How grave it is: the number of the convention, and its word.
    pub(super) fn severity(&mut self, number: i32, word: &str) {
        self.key(2, VARINT);
        self.varint(u64::from(number.unsigned_abs()));
        self.bytes(3, word.as_bytes());
    }

    /// What it says.
    pub(super) fn body(&mut self, text: &str) {
        self.any(5, Any::Text(text));
    }

    /// One thing more.
    pub(super) fn attribute(&mut self, name: &str, value: Any<'_>) {
        self.key(6, BYTES);
        self.length(field_length(name.len()) + field_length(value.length()));
        self.bytes(1, name.as_bytes());
        self.any(2, value);
    }

    /// The trace that it belongs to.
    pub(super) fn trace_id(&mut self, id: &[u8; 16]) {
        self.bytes(9, id);
    }

    /// The span that it belongs to.
    pub(super) fn span_id(&mut self, id: &[u8; 8]) {
        self.bytes(10, id);
    }

    /// All of it.
    pub(super) fn finish(self) -> Box<[u8]> {
        self.0.into_boxed_slice()
    }

    fn any(&mut self, field: u8, value: Any<'_>) {
        self.key(field, BYTES);
        self.length(value.length());
        match value {
            Any::Text(text) => self.bytes(1, text.as_bytes()),
            Any::Flag(flag) => {
                self.key(2, VARINT);
                self.0.push(flag.into());
            }
            Any::Int(number) => {
                self.key(3, VARINT);
                self.varint(number.cast_unsigned());
            }
            Any::Number(number) => {
                self.key(4, FIXED64);
                self.0.extend_from_slice(&number.to_le_bytes());
            }
        }
    }

    fn bytes(&mut self, field: u8, bytes: &[u8]) {
        append_bytes(&mut self.0, field, bytes);
    }

    /// All field numbers here are below 16, so that a key is one byte.
    fn key(&mut self, field: u8, wire_type: u8) {
        self.0.push(field << 3 | wire_type);
    }

    fn length(&mut self, length: usize) {
        self.varint(length as u64);
    }

    fn varint(&mut self, number: u64) {
        append_varint(&mut self.0, number);
    }
}

/// Appends a field of text, bytes or a message to one.
pub(super) fn append_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | BYTES);
    append_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn append_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Bytes of a field of text or of a message that has so many.
fn field_length(length: usize) -> usize {
    1 + varint_length(length as u64) + length
}

fn varint_length(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::logs::v1::LogRecord;
    use prost::Message;

    use super::*;

    #[test]
    fn what_is_written_is_what_the_generated_types_read() {
        let long = "é".repeat(9000);
        let values = [
            (Any::Text(""), Value::StringValue(String::new())),
            (Any::Text(&long), Value::StringValue(long.clone())),
            (Any::Flag(true), Value::BoolValue(true)),
            (Any::Flag(false), Value::BoolValue(false)),
            (Any::Int(0), Value::IntValue(0)),
            (Any::Int(i64::MIN), Value::IntValue(i64::MIN)),
            (Any::Int(i64::MAX), Value::IntValue(i64::MAX)),
            (Any::Int(300), Value::IntValue(300)),
            (Any::Number(-0.5), Value::DoubleValue(-0.5)),
        ];
        let mut writer = RecordWriter::default();
        writer.times(1, u64::MAX);
        writer.severity(17, "ERROR");
        writer.body(&long);
        let name = "n".repeat(200);
        for (value, _) in &values {
            writer.attribute(&name, *value);
        }
        writer.trace_id(&[7; 16]);
        writer.span_id(&[8; 8]);
        let record = LogRecord::decode(&*writer.finish()).unwrap();
        assert_eq!((record.time_unix_nano, record.observed_time_unix_nano), (1, u64::MAX));
        assert_eq!((record.severity_number, record.severity_text.as_str()), (17, "ERROR"));
        assert_eq!(record.body.unwrap().value, Some(Value::StringValue(long.clone())));
        let found: Vec<_> =
            record.attributes.into_iter().map(|attribute| (attribute.key, attribute.value.unwrap().value.unwrap())).collect();
        let expected: Vec<_> = values.into_iter().map(|(_, value)| (name.clone(), value)).collect();
        assert_eq!(found, expected);
        assert_eq!((record.trace_id.as_slice(), record.span_id.as_slice()), (&[7; 16][..], &[8; 8][..]));
        assert_eq!(LogRecord::decode(&*RecordWriter::default().finish()).unwrap(), LogRecord::default());
    }

    #[test]
    fn lengths_are_those_of_what_is_written() {
        for shift in 0..64 {
            for number in [1_u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                append_varint(&mut out, number);
                assert_eq!(out.len(), varint_length(number), "{number}");
            }
        }
    }
}
