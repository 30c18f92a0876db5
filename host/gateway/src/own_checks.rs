//! What `/health` shows of the gateway itself beside the plugins: the keys that tokens of clients are verified with.

use std::sync::Arc;

use watchgate_health::{CheckStatus, OwnCheck};
use watchgate_proxy::{JwksStatus, ProxyControl};

/// Whether clients with a token can be let in.
pub struct JwksCheck(pub Arc<ProxyControl>);

impl OwnCheck for JwksCheck {
    fn name(&self) -> &'static str {
        "jwks"
    }

    fn look(&self) -> Option<(CheckStatus, String)> {
        self.0.jwks().map(|status| judge(&status))
    }
}

/// Never worse than degraded: clients with a key, and servers that need none, are served all the same.
fn judge(status: &JwksStatus) -> (CheckStatus, String) {
    let JwksStatus { source, keys, loaded, trouble } = status;
    match (keys, trouble) {
        (0, Some(trouble)) => (CheckStatus::Degraded, format!("no token is let in: {source} cannot be loaded: {trouble}")),
        (0, None) if loaded.is_none() => (CheckStatus::Degraded, format!("no token is let in until {source} is loaded")),
        (0, None) => (CheckStatus::Degraded, format!("no token is let in: {source} has no key to verify tokens with")),
        (keys, Some(trouble)) => {
            (CheckStatus::Degraded, format!("{keys} keys loaded before stay in use: {source} cannot be loaded: {trouble}"))
        }
        (keys, None) => (CheckStatus::Ok, format!("{keys} keys from {source}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn who_cannot_be_let_in_is_said_with_the_reason() {
        let check = |keys: usize, is_loaded: bool, trouble: Option<&str>, status: CheckStatus, detail: &str| {
            let loaded = is_loaded.then_some(SystemTime::UNIX_EPOCH);
            let found = judge(&JwksStatus { source: "http://i/k".into(), keys, loaded, trouble: trouble.map(str::to_owned) });
            assert_eq!((found.0, found.1.as_str()), (status, detail));
        };
        let (ok, degraded) = (CheckStatus::Ok, CheckStatus::Degraded);
        check(2, true, None, ok, "2 keys from http://i/k");
        check(0, false, None, degraded, "no token is let in until http://i/k is loaded");
        check(0, false, Some("refused"), degraded, "no token is let in: http://i/k cannot be loaded: refused");
        check(0, true, None, degraded, "no token is let in: http://i/k has no key to verify tokens with");
        check(2, true, Some("refused"), degraded, "2 keys loaded before stay in use: http://i/k cannot be loaded: refused");
    }
}
