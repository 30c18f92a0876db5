//! Generates messages: keys in any order and sometimes twice, any escapes, any white space, decoys everywhere.

use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::strategy::Union;

/// A JSON value that remembers the order of its members.
#[derive(Clone, Debug)]
pub enum Json {
    Literal(&'static str),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

type Member = (String, Json);

/// The text of one object, mostly a message, with white space around it.
pub fn message() -> BoxedStrategy<String> {
    let junk = any_json().prop_map(|json| Json::Object(vec![("junk".to_owned(), json)]));
    styled(prop_oneof![12 => any_message(), 1 => junk])
}

/// The text of anything that may stand in a batch.
pub fn element() -> BoxedStrategy<String> {
    styled(prop_oneof![4 => any_message(), 1 => any_json()])
}

fn styled(json: impl Strategy<Value = Json> + 'static) -> BoxedStrategy<String> {
    let style = proptest::collection::vec(any::<u8>(), 16..64);
    (json, style)
        .prop_map(|(json, style)| {
            let mut writer = Writer { out: String::new(), style, used: 0 };
            writer.space();
            writer.write(&json);
            writer.space();
            writer.out
        })
        .boxed()
}

fn any_message() -> BoxedStrategy<Json> {
    let jsonrpc = || member("jsonrpc", Just(text("2.0")).boxed());
    let method = || member("method", method());
    let id = || member("id", id());
    let params = || member("params", or_any(params()));
    let result = || member("result", or_any(result()));
    let error = || member("error", or_any(object(vec![("code", or_any(integer())), ("message", string())])));
    prop_oneof![
        4 => shuffled(vec![jsonrpc(), id(), method(), params()]),
        2 => shuffled(vec![jsonrpc(), method(), params()]),
        4 => shuffled(vec![jsonrpc(), id(), result()]),
        2 => shuffled(vec![jsonrpc(), id(), error()]),
        1 => shuffled(vec![jsonrpc(), params(), method(), params(), id(), id()]),
        1 => shuffled(vec![jsonrpc(), result(), id(), result()]),
    ]
    .boxed()
}

fn shuffled(members: Vec<BoxedStrategy<Member>>) -> BoxedStrategy<Json> {
    let extra = proptest::collection::vec((select(KEYS), any_json()).prop_map(|(key, json)| (key.to_owned(), json)), 0..2);
    (members, extra)
        .prop_map(|(mut members, extra)| {
            members.extend(extra);
            members
        })
        .prop_shuffle()
        .prop_map(Json::Object)
        .boxed()
}

fn params() -> BoxedStrategy<Json> {
    let meta = object(vec![
        ("progressToken", or_any(integer())),
        ("traceparent", or_any(string())),
        ("baggage", or_any(string())),
        ("io.modelcontextprotocol/protocolVersion", string()),
        ("io.modelcontextprotocol/clientInfo", or_any(info())),
        ("io.modelcontextprotocol/serverInfo", info()),
    ]);
    object(vec![
        ("name", or_any(string())),
        ("uri", or_any(string())),
        ("taskId", or_any(string())),
        ("ref", or_any(object(vec![("name", string()), ("uri", string())]))),
        ("arguments", any_json()),
        ("_meta", or_any(meta)),
        ("progressToken", id()),
        ("requestId", id()),
        ("protocolVersion", string()),
        ("clientInfo", or_any(info())),
    ])
}

fn result() -> BoxedStrategy<Json> {
    let kind = select(&["text", "image", "audio", "resource", "resource_link", "tool_use"][..]).prop_map(text).boxed();
    let named = || object(vec![("name", or_any(string())), ("uriTemplate", or_any(string())), ("inputSchema", any_json())]);
    object(vec![
        ("isError", or_any(select(&["true", "false"][..]).prop_map(Json::Literal).boxed())),
        ("resultType", or_any(select(&["complete", "input_required", "task"][..]).prop_map(text).boxed())),
        ("content", array(or_any(object(vec![("type", or_any(kind)), ("text", string())])))),
        ("tools", or_any(array(or_any(named())))),
        ("prompts", array(named())),
        ("resourceTemplates", array(named())),
        ("_meta", or_any(object(vec![("io.modelcontextprotocol/serverInfo", or_any(info())), ("progressToken", integer())]))),
        ("protocolVersion", string()),
        ("serverInfo", or_any(info())),
    ])
}

fn info() -> BoxedStrategy<Json> {
    object(vec![("name", or_any(string())), ("version", string())])
}

fn method() -> BoxedStrategy<Json> {
    let known = select(
        &[
            "tools/call",
            "prompts/get",
            "resources/read",
            "completion/complete",
            "tasks/get",
            "initialize",
            "notifications/progress",
            "notifications/cancelled",
            "my/own",
        ][..],
    );
    or_any(known.prop_map(text).boxed())
}

fn id() -> BoxedStrategy<Json> {
    prop_oneof![4 => integer(), 3 => string(), 1 => any_json()].boxed()
}

fn integer() -> BoxedStrategy<Json> {
    select(&["0", "1", "-7", "9007199254740993", "9223372036854775808", "2.0", "1.5", "1e3", "-0"][..]).prop_map(Json::Literal).boxed()
}

const KEYS: &[&str] = &["method", "id", "name", "params", "result", "error", "_meta", "type", "extra", "nam", "name ", "\u{e9}", ""];

/// Values with decoys: keys that would matter elsewhere.
fn any_json() -> BoxedStrategy<Json> {
    let literal = select(&["null", "true", "false", "0", "-1.5e-3", "123456789"][..]).prop_map(Json::Literal).boxed();
    prop_oneof![literal, string()]
        .prop_recursive(4, 12, 4, |inner| {
            let member = (select(KEYS), inner.clone()).prop_map(|(key, json)| (key.to_owned(), json));
            prop_oneof![
                proptest::collection::vec(inner, 0..4).prop_map(Json::Array),
                proptest::collection::vec(member, 0..4).prop_map(Json::Object),
            ]
        })
        .boxed()
}

fn string() -> BoxedStrategy<Json> {
    let fragment = select(&["a", "\u{e9}", "\u{1f600}", "\"", "\\", "\n", "{", "]", ",", "tool", "\u{0}", "/"][..]);
    proptest::collection::vec(fragment, 0..6).prop_map(|parts| Json::Text(parts.concat())).boxed()
}

fn or_any(right: BoxedStrategy<Json>) -> BoxedStrategy<Json> {
    prop_oneof![5 => right, 1 => any_json()].boxed()
}

fn array(element: BoxedStrategy<Json>) -> BoxedStrategy<Json> {
    proptest::collection::vec(element, 0..5).prop_map(Json::Array).boxed()
}

fn object(members: Vec<(&'static str, BoxedStrategy<Json>)>) -> BoxedStrategy<Json> {
    let most = members.len();
    let any_member = Union::new(members.into_iter().map(|(key, json)| member(key, json)));
    proptest::collection::vec(any_member, 0..=most).prop_map(Json::Object).boxed()
}

fn member(key: &'static str, json: BoxedStrategy<Json>) -> BoxedStrategy<Member> {
    json.prop_map(move |json| (key.to_owned(), json)).boxed()
}

fn text(text: &str) -> Json {
    Json::Text(text.to_owned())
}

/// Writes a value; `style` decides on white space and escapes, over and over.
struct Writer {
    out: String,
    style: Vec<u8>,
    used: usize,
}

impl Writer {
    fn choose(&mut self) -> u8 {
        self.used += 1;
        self.style[self.used % self.style.len()]
    }

    fn space(&mut self) {
        if self.choose() > 200 {
            let space = [" ", "\n", "\r\n\t"][usize::from(self.choose()) % 3];
            self.out.push_str(space);
        }
    }

    fn write(&mut self, json: &Json) {
        match json {
            Json::Literal(literal) => self.out.push_str(literal),
            Json::Text(text) => self.text(text),
            Json::Array(elements) => self.list('[', ']', elements, Self::write),
            Json::Object(members) => self.list('{', '}', members, |writer, (key, json)| {
                writer.text(key);
                writer.space();
                writer.out.push(':');
                writer.space();
                writer.write(json);
            }),
        }
    }

    fn list<T>(&mut self, open: char, close: char, items: &[T], write: impl Fn(&mut Self, &T)) {
        self.out.push(open);
        self.space();
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
                self.space();
            }
            write(self, item);
            self.space();
        }
        self.out.push(close);
    }

    fn text(&mut self, text: &str) {
        self.out.push('"');
        for character in text.chars() {
            let must = matches!(character, '"' | '\\' | '\0'..'\u{20}');
            match character {
                '"' | '\\' | '/' if self.choose() > 128 => self.out.extend(['\\', character]),
                '\n' if self.choose() > 128 => self.out.push_str("\\n"),
                _ if must || self.choose() > 240 => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        self.out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                _ => self.out.push(character),
            }
        }
        self.out.push('"');
    }
}
