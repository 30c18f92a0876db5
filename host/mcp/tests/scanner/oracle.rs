//! The same envelope by way of a tree: slow, obvious, and written without a look at the scanner.

use serde_json::Value;
use watchgate_mcp::{ContentCounts, Envelope, ListKind, ListedName, MessageKind, MethodText, RequestId, ResultType, json, method};

pub fn envelope(text: &str) -> Envelope {
    let message: Value = serde_json::from_str(text).unwrap();
    let (params, result) = (&message["params"], &message["result"]);
    let method_name = message["method"].as_str();
    let client_meta = &params["_meta"];
    let first_text = |values: &[&Value]| values.iter().find_map(|value| value.as_str()).map(Box::from);
    let progress_token =
        if method_name == Some("notifications/progress") { &params["progressToken"] } else { &client_meta["progressToken"] };
    let (listed, listed_dropped) = listed(result);
    Envelope {
        kind: kind(&message),
        is_ambiguous: false,
        id: id(&message["id"]),
        method: method_name.map(|name| method::known(name).map_or_else(|| MethodText::Other(name.into()), MethodText::Known)),
        name: match method_name {
            Some("tools/call" | "prompts/get") => first_text(&[&params["name"]]),
            Some("resources/read") => first_text(&[&params["uri"]]),
            Some("completion/complete") => first_text(&[&params["ref"]["name"], &params["ref"]["uri"]]),
            Some("tasks/get") => first_text(&[&params["taskId"]]),
            _ => None,
        },
        protocol_version: first_text(&[
            &params["protocolVersion"],
            &client_meta["io.modelcontextprotocol/protocolVersion"],
            &result["protocolVersion"],
        ]),
        peer_name: first_text(&[
            &params["clientInfo"]["name"],
            &client_meta["io.modelcontextprotocol/clientInfo"]["name"],
            &result["serverInfo"]["name"],
            &result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"],
        ]),
        progress_token: id(progress_token).map(|token| token.as_json().into()),
        traceparent: first_text(&[&client_meta["traceparent"]]),
        has_trace_context: ["traceparent", "tracestate", "baggage"].iter().any(|key| client_meta.get(key).is_some()),
        cancelled_id: if method_name == Some("notifications/cancelled") { id(&params["requestId"]) } else { None },
        error_code: id(&message["error"]["code"]).and_then(|code| code.as_json().parse().ok()),
        error_message: first_text(&[&message["error"]["message"]]),
        is_error: result["isError"] == true,
        result_type: match &result["resultType"] {
            Value::String(text) if text == "input_required" => ResultType::InputRequired,
            Value::String(text) if text == "complete" => ResultType::Complete,
            _ if result.get("resultType").is_none() => ResultType::Complete,
            _ => ResultType::Other,
        },
        argument_bytes: length(text, "/params/arguments"),
        result_bytes: length(text, "/result"),
        content: content(&result["content"]),
        listed,
        listed_dropped,
        bytes: text.len() as u64,
    }
}

fn kind(message: &Value) -> MessageKind {
    let Some(object) = message.as_object().filter(|_| message["jsonrpc"] == "2.0") else { return MessageKind::Invalid };
    // An integer beyond i64 is an id too, only not one that can be kept.
    let has_id = id(&message["id"]).is_some() || message["id"].is_u64();
    let answers = (object.contains_key("result"), object.contains_key("error"));
    match (object.get("method"), answers) {
        (Some(Value::String(_)), (false, false)) if has_id => MessageKind::Request,
        (Some(Value::String(_)), (false, false)) if !object.contains_key("id") => MessageKind::Notification,
        (None, (true, false)) if has_id => MessageKind::Result,
        (None, (false, true)) if message["error"].is_object() && (has_id || message["id"].is_null()) => MessageKind::Error,
        _ => MessageKind::Invalid,
    }
}

fn id(value: &Value) -> Option<RequestId> {
    match value {
        Value::String(text) => Some(RequestId::from(text.as_str())),
        Value::Number(number) => {
            let integral = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0);
            number.as_i64().or(integral.map(|float| float as i64)).map(RequestId::from)
        }
        _ => None,
    }
}

fn length(text: &str, pointer: &str) -> u64 {
    json::locate(text.as_bytes(), pointer).map_or(0, |range| range.len() as u64)
}

fn content(content: &Value) -> ContentCounts {
    let mut counts = ContentCounts::default();
    for item in content.as_array().into_iter().flatten() {
        *match item["type"].as_str() {
            Some("text") => &mut counts.text,
            Some("image") => &mut counts.image,
            Some("audio") => &mut counts.audio,
            Some("resource") => &mut counts.resource,
            Some("resource_link") => &mut counts.resource_link,
            _ => &mut counts.other,
        } += 1;
    }
    counts
}

fn listed(result: &Value) -> (Vec<ListedName>, u32) {
    let lists = [
        (ListKind::Tool, "tools", "name"),
        (ListKind::Prompt, "prompts", "name"),
        (ListKind::ResourceTemplate, "resourceTemplates", "uriTemplate"),
    ];
    let names = lists.into_iter().flat_map(|(kind, list, key)| {
        let elements = result[list].as_array().into_iter().flatten();
        elements.filter_map(move |element| element[key].as_str()).map(move |name| ListedName { kind, name: name.into() })
    });
    (names.collect(), 0)
}
