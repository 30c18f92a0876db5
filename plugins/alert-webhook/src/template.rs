//! The request body: the alert's JSON, with further members made from templates.

use serde_json::{Map, Value};

/// The members of an alert's JSON. The gateway may add more, so others are not refused as long as they are of this form.
const LABELS: &str = "labels";

/// What is sent.
pub struct Payload {
    /// Further members.
    pub fields: Vec<(String, Template)>,
    /// Whether they are all that is sent.
    pub only_fields: bool,
}

/// A text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// A member of the alert's JSON.
    Member(String),
    /// A label.
    Label(String),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// A sentence: a brace that is not closed, or an empty placeholder.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            plain += before;
            if let Some(after) = after.strip_prefix('{') {
                plain.push('{');
                rest = after;
                continue;
            }
            let (name, after) = after.split_once('}').ok_or("a brace is not closed; write {{ for a brace")?;
            parts.push(Part::Text(core::mem::take(&mut plain)));
            parts.push(match name.split_once('.') {
                Some((LABELS, label)) if !label.is_empty() => Part::Label(label.to_owned()),
                None if is_member(name) => Part::Member(name.to_owned()),
                _ => return Err(format!("{{{name}}} is no placeholder")),
            });
            rest = after;
        }
        plain += rest;
        parts.push(Part::Text(plain));
        Ok(Self(parts))
    }

    fn render(&self, alert: &Map<String, Value>) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text += plain,
                Part::Member(name) => push_value(&mut text, alert.get(name)),
                Part::Label(name) => push_value(&mut text, alert.get(LABELS).and_then(|labels| labels.get(name))),
            }
        }
        text
    }
}

impl Payload {
    /// The body for an alert's JSON.
    ///
    /// # Errors
    /// The alert's JSON is no object.
    pub fn render(&self, alert: &str) -> Result<String, String> {
        if self.fields.is_empty() && !self.only_fields {
            return Ok(alert.to_owned());
        }
        let alert: Map<String, Value> = serde_json::from_str(alert).map_err(|error| format!("the alert is no JSON object: {error}"))?;
        let fields: Vec<_> = self.fields.iter().map(|(name, template)| (name.clone(), Value::String(template.render(&alert)))).collect();
        let mut body = if self.only_fields { Map::new() } else { alert };
        body.extend(fields);
        Ok(Value::Object(body).to_string())
    }
}

fn is_member(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// A string as it is, anything else as JSON, and what is absent or null as nothing.
fn push_value(text: &mut String, value: Option<&Value>) {
    match value {
        None | Some(Value::Null) => {}
        Some(Value::String(string)) => *text += string,
        Some(other) => *text += &other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use serde_json::{Value, json};

    use super::{Payload, Template};

    const ALERT: &str = r#"{"name":"slow","state":"firing","value":1.5,"labels":{"team":"a\"b"},"resolved_at_ms":null}"#;

    fn check(template: &str, expected: Result<&str, &str>) {
        let alert: Value = serde_json::from_str(ALERT).unwrap();
        let found = Template::parse(template).map(|template| template.render(alert.as_object().unwrap()));
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{template}");
    }

    #[test]
    fn fills_placeholders_in() {
        check("", Ok(""));
        check("{name} is {state}: {value}", Ok("slow is firing: 1.5"));
        check("{labels.team} {labels.absent}{absent}{resolved_at_ms}", Ok("a\"b "));
        check("{{name} }{labels}", Ok("{name} }{\"team\":\"a\\\"b\"}"));
        check("{name", Err("a brace is not closed; write {{ for a brace"));
        check("{}", Err("{} is no placeholder"));
        check("{labels.}", Err("{labels.} is no placeholder"));
        check("{a.b}", Err("{a.b} is no placeholder"));
        check("{{{name}", Ok("{slow"));
    }

    fn body(fields: &[(&str, &str)], only_fields: bool) -> Result<Value, String> {
        let fields = fields.iter().map(|(name, text)| ((*name).to_owned(), Template::parse(text).unwrap())).collect();
        Payload { fields, only_fields }.render(ALERT).map(|body| serde_json::from_str(&body).unwrap())
    }

    #[test]
    fn adds_fields_to_the_alert_or_sends_them_alone() {
        let alert: Value = serde_json::from_str(ALERT).unwrap();
        assert_eq!(body(&[], false), Ok(alert.clone()));
        assert_eq!(body(&[("text", "{name}!")], true), Ok(json!({"text": "slow!"})));
        let mut with_text = alert;
        with_text["text"] = json!("slow!");
        assert_eq!(body(&[("text", "{name}!")], false), Ok(with_text));
        assert!(Payload { fields: Vec::new(), only_fields: true }.render("[]").is_err());
    }

    proptest! {
        #[test]
        fn text_without_braces_stays(text in "[^{]*", any in any::<String>()) {
            let template = Template::parse(&text).unwrap();
            prop_assert_eq!(template.render(&serde_json::Map::new()), text);
            let _either = Template::parse(&any);
        }
    }
}
