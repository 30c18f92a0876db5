//! Whether a server is up: one of its endpoints takes a connection, and answers as an MCP server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use watchgate_hooks::{
    AskError, BoxFuture, Era, KeptFrom, UpstreamCallError, UpstreamCalls, UpstreamEndpoint, UpstreamEndpoints, UpstreamRequest,
    UpstreamResponse, probe,
};

use crate::check::{CheckStatus, Finding};

/// Probes one server: each of its endpoints, all at once.
///
/// Two steps tell an operator whether the host or the server on it is the trouble. The second asks `server/discover`, else `initialize`;
/// a result is healthy. A server that wants credentials (401, 403) is up: the gateway has none of its own to show.
pub(crate) struct Probe {
    server: String,
    timeout: Duration,
    upstreams: Arc<dyn UpstreamEndpoints>,
    /// Of the endpoints that there were at the last run, by authority.
    eras: Mutex<BTreeMap<String, Era>>,
}

/// What the probe of one endpoint found.
struct Look {
    authority: String,
    finding: Finding,
    era: Option<Era>,
    kept_from: KeptFrom,
}

impl Probe {
    pub fn new(server: String, timeout: Duration, upstreams: Arc<dyn UpstreamEndpoints>) -> Self {
        Self { server, timeout, upstreams, eras: Mutex::default() }
    }

    /// Probes once; each of the two steps may take the timeout.
    pub async fn run(&self) -> Finding {
        let endpoints = self.upstreams.endpoints(&self.server);
        let looks = join_all(endpoints.iter().map(|endpoint| self.look_at(&**endpoint))).await;
        *self.eras.lock() = looks.iter().filter_map(|look| Some((look.authority.clone(), look.era?))).collect();
        summary(&looks)
    }

    async fn look_at(&self, endpoint: &dyn UpstreamEndpoint) -> Look {
        let authority = endpoint.authority().to_owned();
        let known = self.eras.lock().get(&authority).copied();
        let calls = Listening { calls: endpoint, status: AtomicU16::new(0) };
        let (finding, era) = match endpoint.connect(&self.server, self.timeout).await {
            Err(error) => (Finding::new(CheckStatus::Failing, format!("TCP: {error}")), None),
            Ok(()) => {
                let answer = probe(&calls, &self.server, known, self.timeout).await;
                let era = answer.as_ref().ok().copied();
                (judge(answer, calls.status()), era)
            }
        };
        endpoint.note_probe(calls.status() != 0);
        // One that did not answer now may speak as it did before.
        Look { authority, finding, era: era.or(known), kept_from: endpoint.kept_from() }
    }
}

/// What the endpoints together mean: the server is up when one of them is, and all is well when all are, and open to clients.
fn summary(looks: &[Look]) -> Finding {
    let is_several = looks.len() > 1;
    let Some(best) = looks.iter().min_by_key(|look| rank(look.finding.status)) else {
        return Finding::new(CheckStatus::Failing, "the server is not configured");
    };
    if best.finding.status == CheckStatus::Failing && !is_several {
        return best.finding.clone();
    }
    let is_up = best.finding.status != CheckStatus::Failing;
    let mut details: Vec<String> = is_up.then(|| best.finding.detail.clone()).into_iter().collect();
    for look in looks {
        let name = if is_several { format!("{}: ", look.authority) } else { String::new() };
        if look.finding.status != CheckStatus::Ok && !std::ptr::eq(look, best) || !is_up {
            details.push(format!("{name}{}", look.finding.detail));
        }
        match look.kept_from {
            KeptFrom::Nobody => {}
            KeptFrom::ByBreaker => details.push(format!("{name}the circuit breaker is open")),
            KeptFrom::ByHand => details.push(format!("{name}the circuit breaker is open (by hand)")),
        }
    }
    let is_well = looks.iter().all(|look| look.finding.status == CheckStatus::Ok && look.kept_from == KeptFrom::Nobody);
    let status = match (is_up, is_well) {
        (false, _) => CheckStatus::Failing,
        (true, false) => CheckStatus::Degraded,
        (true, true) => CheckStatus::Ok,
    };
    Finding::new(status, details.join("; "))
}

fn rank(status: CheckStatus) -> u8 {
    match status {
        CheckStatus::Ok => 0,
        CheckStatus::Degraded => 1,
        CheckStatus::Failing | CheckStatus::Unknown => 2,
    }
}

/// What an answer means; `status` is the HTTP status that came last, 0 for none.
fn judge(answer: Result<Era, AskError>, status: u16) -> Finding {
    match answer {
        Ok(Era::Modern) => Finding::new(CheckStatus::Ok, "answers server/discover"),
        Ok(Era::Legacy) => Finding::new(CheckStatus::Ok, "answers initialize"),
        Err(AskError::Upstream(error)) => Finding::new(CheckStatus::Failing, format!("MCP: {error}")),
        Err(_) if matches!(status, 401 | 403) => Finding::new(CheckStatus::Ok, format!("up, but wants credentials (HTTP {status})")),
        Err(AskError::Rpc { code, .. }) => {
            // Without the server's words: they may hold what no operator should see.
            let found = if status < 500 { CheckStatus::Degraded } else { CheckStatus::Failing };
            Finding::new(found, format!("MCP: the server answered with error {code}"))
        }
        Err(error) => Finding::new(CheckStatus::Failing, format!("MCP: {error}")),
    }
}

/// Passes everything on and notes the last HTTP status, which an [`AskError`] does not carry.
struct Listening<'e> {
    calls: &'e dyn UpstreamEndpoint,
    status: AtomicU16,
}

impl Listening<'_> {
    /// 0 for none.
    fn status(&self) -> u16 {
        self.status.load(Ordering::Relaxed)
    }
}

impl UpstreamCalls for Listening<'_> {
    fn servers(&self) -> Vec<String> {
        self.calls.servers()
    }

    fn connect<'a>(&'a self, server: &'a str, deadline: Duration) -> BoxFuture<'a, Result<(), UpstreamCallError>> {
        self.calls.connect(server, deadline)
    }

    fn send<'a>(
        &'a self,
        server: &'a str,
        request: UpstreamRequest,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<UpstreamResponse, UpstreamCallError>> {
        Box::pin(async move {
            let response = self.calls.send(server, request, deadline).await?;
            self.status.store(response.status, Ordering::Relaxed);
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean() {
        let check = |answer: Result<Era, AskError>, status, expected, detail: &str| {
            assert_eq!(judge(answer, status), Finding::new(expected, detail));
        };
        let protocol = || Err(AskError::Protocol("HTTP 404 without an answer to the request".to_owned()));
        let rpc = || Err(AskError::Rpc { code: -32603, message: "busy".to_owned() });
        check(Ok(Era::Modern), 200, CheckStatus::Ok, "answers server/discover");
        check(Ok(Era::Legacy), 200, CheckStatus::Ok, "answers initialize");
        check(protocol(), 401, CheckStatus::Ok, "up, but wants credentials (HTTP 401)");
        check(rpc(), 403, CheckStatus::Ok, "up, but wants credentials (HTTP 403)");
        check(protocol(), 404, CheckStatus::Failing, "MCP: protocol: HTTP 404 without an answer to the request");
        check(rpc(), 200, CheckStatus::Degraded, "MCP: the server answered with error -32603");
        check(rpc(), 500, CheckStatus::Failing, "MCP: the server answered with error -32603");
        let late = Err(AskError::Upstream(UpstreamCallError::Timeout(Duration::from_secs(2))));
        check(late, 401, CheckStatus::Failing, "MCP: no answer within 2s");
    }

    #[test]
    fn endpoints_together_mean() {
        use CheckStatus::{Degraded, Failing, Ok};
        use KeptFrom::{ByBreaker, ByHand, Nobody};
        let check = |endpoints: &[(CheckStatus, &str, KeptFrom)], status, detail: &str| {
            let look = |(number, (status, detail, kept_from)): (usize, &(CheckStatus, &str, KeptFrom))| Look {
                authority: format!("h:{number}"),
                finding: Finding::new(*status, *detail),
                era: None,
                kept_from: *kept_from,
            };
            let looks: Vec<Look> = endpoints.iter().enumerate().map(look).collect();
            assert_eq!(summary(&looks), Finding::new(status, detail));
        };
        check(&[], Failing, "the server is not configured");
        check(&[(Ok, "answers", Nobody)], Ok, "answers");
        check(&[(Degraded, "error 1", Nobody)], Degraded, "error 1");
        check(&[(Failing, "refused", ByBreaker)], Failing, "refused");
        check(&[(Ok, "answers", ByHand)], Degraded, "answers; the circuit breaker is open (by hand)");
        check(&[(Ok, "answers", Nobody), (Ok, "answers", Nobody)], Ok, "answers");
        check(&[(Failing, "refused", Nobody), (Ok, "answers", Nobody)], Degraded, "answers; h:0: refused");
        check(
            &[(Ok, "answers", ByBreaker), (Failing, "silent", ByBreaker)],
            Degraded,
            "answers; h:0: the circuit breaker is open; h:1: silent; h:1: the circuit breaker is open",
        );
        check(&[(Failing, "refused", Nobody), (Failing, "silent", Nobody)], Failing, "h:0: refused; h:1: silent");
        check(&[(Degraded, "error 1", Nobody), (Failing, "silent", Nobody)], Degraded, "error 1; h:1: silent");
    }
}
