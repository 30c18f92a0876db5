//! Turns the `[config]` table into the JSON text that `lifecycle.start` is given, with `{ env = "X" }` replaced by the
//! granted variable's value.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::reader::Reader;

/// What the environment grants say about one variable.
pub enum Variable<'a> {
    /// Granted and set.
    Set(&'a str),
    /// Granted, but the gateway's environment does not have it.
    Unset,
    /// Not granted.
    NotGranted,
}

/// The variables that `[grants] env` names, with their values where they are set.
#[derive(Default)]
pub struct Variables(pub BTreeMap<String, Option<String>>);

impl Variables {
    fn look_up(&self, name: &str) -> Variable<'_> {
        match self.0.get(name) {
            Some(Some(value)) => Variable::Set(value),
            Some(None) => Variable::Unset,
            None => Variable::NotGranted,
        }
    }
}

/// The table as JSON; mistakes go to the reader.
pub fn to_json(table: &DeTable<'_>, variables: &Variables, reader: &mut Reader<'_>) -> Value {
    let mut object = Map::new();
    for (key, value) in table {
        object.insert(key.get_ref().to_string(), value_to_json(value, variables, reader));
    }
    Value::Object(object)
}

fn value_to_json(value: &Spanned<DeValue<'_>>, variables: &Variables, reader: &mut Reader<'_>) -> Value {
    match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) => Value::from(number),
            Err(_) => refuse(value, reader, "a number in [config] must fit 64 bits"),
        },
        DeValue::Float(float) => match float.as_str().parse().ok().and_then(serde_json::Number::from_f64) {
            Some(number) => Value::Number(number),
            None => refuse(value, reader, "JSON has no such number as this one in [config]"),
        },
        DeValue::Array(items) => Value::Array(items.iter().map(|item| value_to_json(item, variables, reader)).collect()),
        DeValue::Table(table) => match reference(table) {
            Some(name) => resolve(name, value, variables, reader),
            None => to_json(table, variables, reader),
        },
    }
}

/// A table with the single key `env` and a string as value names a variable.
fn reference<'t>(table: &'t DeTable<'_>) -> Option<&'t str> {
    if table.len() != 1 {
        return None;
    }
    table.get("env")?.get_ref().as_str()
}

fn resolve(name: &str, value: &Spanned<DeValue<'_>>, variables: &Variables, reader: &mut Reader<'_>) -> Value {
    match variables.look_up(name) {
        Variable::Set(text) => Value::String(text.to_owned()),
        Variable::Unset => refuse(value, reader, &format!("environment variable `{name}` is granted but not set")),
        Variable::NotGranted => refuse(value, reader, &format!("environment variable `{name}` is not granted: add it to `grants.env`")),
    }
}

fn refuse(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>, problem: &str) -> Value {
    reader.complain(value.span(), problem.to_owned());
    Value::Null
}
