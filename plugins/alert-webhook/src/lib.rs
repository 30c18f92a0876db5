//! Stock plugin `alert-webhook`: an alert action that POSTs each notification as JSON.
//!
//! The body is the alert's own JSON object: `name`, `state`, `is_repeat`, `severity`, `summary`, `value`, `threshold`, `labels`, `started_at_ms`,
//! `resolved_at_ms`, `fingerprint`. Any answer but 2xx is an error, and the gateway tries again with back-off.
//!
//! Settings, in `[config]`:
//!
//! - `url`: `http://` or `https://`; `[grants] http` must name its host and port.
//! - `headers`: a table of further request headers.
//! - `fields`: a table of further members. A value may hold placeholders: `{name}` and the other members above, `{labels.NAME}` for one
//!   label; `{{` stands for a brace. With `only_fields = true` nothing else is sent, which is what chat services want.
//! - `timeout_seconds`: to connect, and again to wait for the answer; 4 without it. The deadline of the whole call is `[limits] wall`.

mod http;
mod template;
mod url;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use watchgate_plugin::{Alert, AlertAction, Plugin, Setup, export_plugin};

use template::{Payload, Template};
use url::Url;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    fields: BTreeMap<String, String>,
    #[serde(default)]
    only_fields: bool,
    #[serde(default = "default_timeout")]
    timeout_seconds: u32,
}

/// Two of them fit into the ten seconds that a call may take.
const fn default_timeout() -> u32 {
    4
}

struct AlertWebhook {
    url: Url,
    headers: Vec<(String, String)>,
    payload: Payload,
    timeout: Duration,
}

impl Plugin for AlertWebhook {
    fn start(setup: &Setup) -> Result<Self, String> {
        let config: Config = setup.config_as()?;
        let url = Url::parse(&config.url).map_err(|reason| format!("config key `url`: {reason}"))?;
        let fields = config.fields.into_iter().map(|(name, text)| {
            let template = Template::parse(&text).map_err(|reason| format!("config key `fields.{name}`: {reason}"))?;
            Ok((name, template))
        });
        let payload = Payload { fields: fields.collect::<Result<_, String>>()?, only_fields: config.only_fields };
        Ok(Self {
            url,
            headers: config.headers.into_iter().collect(),
            payload,
            timeout: Duration::from_secs(config.timeout_seconds.into()),
        })
    }
}

impl AlertAction for AlertWebhook {
    fn notify(&mut self, alert: &Alert) -> Result<(), String> {
        let body = self.payload.render(&alert.json())?;
        match http::post(&self.url, &self.headers, body.as_bytes(), self.timeout)? {
            200..300 => Ok(()),
            status => Err(format!("the receiver answered {status}")),
        }
    }
}

export_plugin!(AlertWebhook: alerting);
