//! `GET` and `PUT /admin/log-level`: how much the gateway says, changed while it runs.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use watchgate_telemetry::log::LogHandle;

use crate::answer::{self, Answer};
use crate::time_text::parse_duration;

/// A level that is set for a time is meant to go back while somebody remembers it.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    level: String,
    #[serde(rename = "for")]
    duration: Option<String>,
}

/// The level now.
pub(crate) fn show(log: &LogHandle) -> Answer {
    let now = log.level();
    let remaining = now.remaining.map(|remaining| remaining.as_secs_f64());
    answer::json(StatusCode::OK, &json!({ "level": now.level, "standing": now.standing, "remaining_seconds": remaining }))
}

/// Does what the request says.
pub(crate) fn set(log: &LogHandle, body: &[u8]) -> Answer {
    let wish: Wish = match serde_json::from_slice(body) {
        Ok(wish) => wish,
        Err(error) => {
            let message = format!("send {{\"level\":\"debug\"}} or {{\"level\":\"debug\",\"for\":\"10m\"}}: {error}");
            return answer::error(StatusCode::BAD_REQUEST, "body", &message);
        }
    };
    let duration = match wish.duration.as_deref().map(parse_duration).transpose() {
        Ok(duration) => duration,
        Err(problem) => return answer::error(StatusCode::BAD_REQUEST, "for", &format!("`for` {problem}")),
    };
    if duration.is_some_and(|duration| duration.is_zero() || duration > LONGEST) {
        return answer::error(StatusCode::BAD_REQUEST, "for", "`for` must be above 0s, up to 7d");
    }
    let done = match duration {
        Some(duration) => log.set_level_for(&wish.level, duration),
        None => log.set_level(&wish.level),
    };
    match done {
        Ok(()) => {
            tracing::info!(level = wish.level, duration = wish.duration, "the log level was set by an operator");
            show(log)
        }
        Err(error) => answer::error(StatusCode::BAD_REQUEST, "level", &error.to_string()),
    }
}
