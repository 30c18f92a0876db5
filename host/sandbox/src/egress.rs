//! `wasi:http` with a leash: which hosts a plugin may reach, for how long and with how much.

mod client;
mod grants;

use std::time::{Duration, Instant};

use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

pub(crate) use grants::HttpGrants;

/// Requests in one call of a plugin.
const REQUESTS_PER_CALL: u32 = 32;

/// What a sent request becomes: the response's head with its body still to come, and the connection's own work.
type Sent = Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

/// The requests of one instance.
pub(crate) struct Egress {
    grants: HttpGrants,
    /// Until when the running call may wait; `None` when it may not reach out at all.
    until: Option<Instant>,
    left: u32,
}

impl Egress {
    pub(crate) fn new(grants: HttpGrants) -> Self {
        Self { grants, until: None, left: 0 }
    }

    /// A call begins, which may send requests for this long.
    pub(crate) fn begin(&mut self, allowed: Option<Duration>) {
        self.until = allowed.map(|allowed| Instant::now() + allowed);
        self.left = REQUESTS_PER_CALL;
    }

    /// Decides about one request, before anything is resolved or connected.
    fn admit(&mut self, request: &http::Request<WasiBody>) -> Result<(client::Route, Duration), Error> {
        let until = self.until.ok_or(Error::HttpRequestDenied)?;
        let route = self.grants.route(request.uri()).ok_or(Error::HttpRequestDenied)?;
        self.left = self.left.checked_sub(1).ok_or(Error::ConnectionLimitReached)?;
        Ok((route, until.saturating_duration_since(Instant::now())))
    }
}

impl WasiHttpHooks for Egress {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let admitted = self.admit(&request);
        Box::new(async move {
            let (route, patience) = admitted?;
            client::send(request, route, client::Timeouts::new(options, patience)).await
        })
    }
}
