//! The configuration as a file that says everything would have it: what operators see. Secrets are not in it, because a sound configuration
//! only says where they are.

use serde_json::{Map, Value, json};
use watchgate_proxy::GuardConfig;
use watchgate_settings::{Absent, SECTIONS, Section, Shape};

use crate::cli::RunArguments;

/// The file with the flags on top and every default filled in.
pub fn document(file: &Value, arguments: &RunArguments) -> Value {
    let mut document = file.as_object().cloned().unwrap_or_default();
    put_flags(&mut document, arguments);
    for section in SECTIONS {
        fill(&mut document, section);
    }
    take_from_proxy(&mut document);
    if document.contains_key("listeners") {
        document.remove("listen");
    }
    Value::Object(document)
}

/// Puts back what is read at the start only.
pub fn keep_started(document: &mut Value, started: &Value) {
    for section in SECTIONS.iter().filter(|section| section.shape == Shape::Table) {
        for key in section.keys.iter().filter(|key| key.needs_restart) {
            let pointer = format!("/{}{}", section.prefix.replace('.', "/"), key.name);
            let kept = started.pointer(&pointer).cloned();
            let Some(table) = document.pointer_mut(pointer.rsplit_once('/').map_or("", |(table, _)| table)).and_then(Value::as_object_mut)
            else {
                continue;
            };
            match kept {
                Some(kept) => table.insert(key.name.to_owned(), kept),
                None => table.remove(key.name),
            };
        }
    }
}

/// Shows the lists that follow from the listeners.
pub fn show_guard(document: &mut Value, guard: &GuardConfig) {
    let shown = |list: &Option<Vec<String>>| list.as_ref().map_or_else(|| json!(["*"]), |list| json!(list));
    document["guard"] = json!({ "hosts": shown(&guard.hosts), "origins": shown(&guard.origins) });
}

/// Shows values that the file does not say: table, key and value.
pub fn show_all(document: &mut Value, shown: Vec<(&'static str, &'static str, Value)>) {
    for (table, key, value) in shown {
        let mut place = &mut *document;
        for name in table.split('.') {
            // Something else in its place is a mistake of the file, which is said elsewhere.
            if !place.is_object() {
                *place = json!({});
            }
            place = &mut place[name];
        }
        if !place.is_object() {
            *place = json!({});
        }
        place[key] = value;
    }
}

fn put_flags(document: &mut Map<String, Value>, arguments: &RunArguments) {
    let mut put = |table: Option<&str>, key: &str, value: Option<Value>| {
        let Some(value) = value else { return };
        let place = match table {
            None => &mut *document,
            Some(table) => match document.entry(table).or_insert_with(|| json!({})).as_object_mut() {
                Some(place) => place,
                None => return,
            },
        };
        place.insert(key.to_owned(), value);
    };
    let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
    put(None, "admin", text(&arguments.admin));
    put(None, "listen", text(&arguments.listen));
    put(Some("plugins"), "folder", arguments.plugins.as_ref().map(|path| json!(path)));
    put(Some("logs"), "level", text(&arguments.log_level));
    put(Some("logs"), "format", text(&arguments.log_format));
    put(Some("logs"), "access_log", text(&arguments.access_log));
    if !arguments.require.is_empty() {
        let listed = document.get("plugins").and_then(|plugins| plugins.get("required")?.as_array().cloned()).unwrap_or_default();
        let all: Vec<Value> = listed.into_iter().chain(arguments.require.iter().map(|name| json!(name))).collect();
        document.entry("plugins").or_insert_with(|| json!({}))["required"] = json!(all);
    }
    if arguments.listen.is_some() {
        document.remove("listeners");
    }
    if !arguments.upstream.is_empty() {
        let servers: Map<String, Value> = arguments.upstream.iter().filter_map(|value| server_of_flag(value)).collect();
        document.insert("servers".to_owned(), Value::Object(servers));
    }
}

fn server_of_flag(value: &str) -> Option<(String, Value)> {
    let server = crate::server_url::parse_flag(value).ok()?;
    let mount = if server.mount == watchgate_proxy::Mount::Root { "root" } else { "prefix" };
    let url = value.strip_prefix(&format!("{}=", server.name)).unwrap_or(value);
    Some((server.name.clone(), json!({ "url": url, "mount": mount })))
}

/// Fills in the defaults of a section, wherever it stands.
fn fill(document: &mut Map<String, Value>, section: &Section) {
    let Some((parent, name)) = section.parent_and_name() else { return fill_keys(document, section) };
    for parent in tables(document, parent) {
        if section.shape == Shape::Table {
            parent.entry(name).or_insert_with(|| json!({}));
        }
        for table in parent.get_mut(name).map(|value| elements(value, section.shape)).unwrap_or_default() {
            fill_keys(table, section);
        }
    }
}

/// Every table of the document that is of the section with this prefix.
fn tables<'d>(document: &'d mut Map<String, Value>, prefix: &str) -> Vec<&'d mut Map<String, Value>> {
    let Some((section, (parent, name))) = Section::find(prefix).and_then(|section| Some((section, section.parent_and_name()?))) else {
        return vec![document];
    };
    let parents = tables(document, parent);
    parents.into_iter().filter_map(|parent| parent.get_mut(name)).flat_map(|value| elements(value, section.shape)).collect()
}

fn elements(value: &mut Value, shape: Shape) -> Vec<&mut Map<String, Value>> {
    match (shape, value) {
        (Shape::Table | Shape::Optional, Value::Object(table)) => vec![table],
        (Shape::List, Value::Array(list)) => list.iter_mut().filter_map(Value::as_object_mut).collect(),
        (Shape::Named, Value::Object(named)) => named.values_mut().filter_map(Value::as_object_mut).collect(),
        _ => Vec::new(),
    }
}

fn fill_keys(table: &mut Map<String, Value>, section: &Section) {
    for key in section.keys {
        if let Absent::Is(toml) = key.default {
            table.entry(key.name).or_insert_with(|| parsed(toml));
        }
    }
}

/// A default of the table, as JSON.
fn parsed(toml: &str) -> Value {
    let document: Option<toml::Table> = format!("value = {toml}").parse().ok();
    document.and_then(|mut table| serde_json::to_value(table.remove("value")?).ok()).unwrap_or_default()
}

/// What servers do not say and `[proxy]` does.
fn take_from_proxy(document: &mut Map<String, Value>) {
    let proxy = document.get("proxy").cloned().unwrap_or_default();
    let Some(section) = Section::find("servers.NAME.") else { return };
    for server in tables(document, section.prefix) {
        if server.contains_key("hosts") {
            server.remove("mount");
        }
        for key in section.keys {
            if let Some(value) = proxy.get(key.name) {
                server.entry(key.name).or_insert_with(|| value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_said_once_flags_and_defaults_are_filled_in() {
        let file: toml::Table = "[proxy]\nhead_timeout = \"7s\"\n[servers.a]\nurl = \"http://a\"\nidle_timeout = \"1s\"\n\
            [[auth.keys]]\nname = \"ci\"\nkey = { env = \"CI\" }\n[logs]\nlevel = \"warn\"\n"
            .parse()
            .unwrap();
        let flags = RunArguments { log_level: Some("debug".to_owned()), ..RunArguments::default() };
        let document = document(&serde_json::to_value(file).unwrap(), &flags);
        let check =
            |pointer: &str, expected: Value| assert_eq!(document.pointer(pointer).cloned().unwrap_or_default(), expected, "{pointer}");
        check("/listen", json!("127.0.0.1:8080"));
        check("/logs/level", json!("debug"));
        check("/servers/a/head_timeout", json!("7s"));
        check("/servers/a/idle_timeout", json!("1s"));
        check("/servers/a/breaker/error_share", json!(0.5));
        check("/servers/a/rate", Value::Null);
        check("/auth/keys/0/key", json!({ "env": "CI" }));
        check("/auth/pass_authorization", json!(false));
        check("/auth/jwt", Value::Null);
        check("/alerts/repeat_interval", json!("4h"));
    }

    #[test]
    fn servers_of_flags_replace_those_of_the_file() {
        let flags = RunArguments { upstream: vec!["b=http://b/mcp".to_owned()], require: vec!["p".to_owned()], ..RunArguments::default() };
        let document = document(&json!({ "servers": { "a": { "url": "http://a" } }, "plugins": { "required": ["o"] } }), &flags);
        assert_eq!(document["servers"].as_object().unwrap().keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!((&document["servers"]["b"]["url"], &document["plugins"]["required"]), (&json!("http://b/mcp"), &json!(["o", "p"])));
    }

    #[test]
    fn what_is_read_at_the_start_stays() {
        let mut now = json!({ "admin": "h:2", "logs": { "level": "warn", "format": "json" }, "plugins": { "folder": "new" } });
        keep_started(&mut now, &json!({ "admin": "h:1", "logs": { "level": "info", "format": "pretty" }, "plugins": {} }));
        assert_eq!(now, json!({ "admin": "h:1", "logs": { "level": "warn", "format": "pretty" }, "plugins": {} }));
    }
}
