//! A health check that asks `config.url` with GET through `wasi:http`: healthy when the answer is 200.

use serde::Deserialize;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, OutgoingRequest, Scheme};
use watchgate_plugin::{HealthCheck, Plugin, Report, Setup, Status, export_plugin};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// For example `http://127.0.0.1:8000/status`; `[grants] http` must name its host and port.
    url: String,
}

struct Fetch {
    authority: String,
    path: String,
}

impl Plugin for Fetch {
    fn start(setup: &Setup) -> Result<Self, String> {
        let config: Config = setup.config_as()?;
        let rest = config.url.strip_prefix("http://").ok_or("config key `url` must begin with http://")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        Ok(Self { authority: authority.to_owned(), path: format!("/{path}") })
    }
}

impl HealthCheck for Fetch {
    fn check(&mut self) -> Report {
        match self.get() {
            Ok(200) => Report { status: Status::Ok, detail: "answered 200".to_owned() },
            Ok(status) => Report { status: Status::Failing, detail: format!("answered {status}") },
            Err(reason) => Report { status: Status::Failing, detail: reason },
        }
    }
}

impl Fetch {
    fn get(&self) -> Result<u16, String> {
        let request = OutgoingRequest::new(Fields::new());
        let prepared = request
            .set_scheme(Some(&Scheme::Http))
            .and_then(|()| request.set_authority(Some(&self.authority)))
            .and_then(|()| request.set_path_with_query(Some(&self.path)));
        prepared.map_err(|()| "the URL is not valid".to_owned())?;
        let answer = outgoing_handler::handle(request, None).map_err(|error| format!("not sent: {error:?}"))?;
        answer.subscribe().block();
        match answer.get() {
            Some(Ok(Ok(response))) => Ok(response.status()),
            Some(Ok(Err(error))) => Err(format!("no answer: {error:?}")),
            _ => Err("no answer".to_owned()),
        }
    }
}

export_plugin!(Fetch: health);
