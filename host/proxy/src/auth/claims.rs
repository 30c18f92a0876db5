//! What the claims of a token must say, whichever key has signed it.

use std::time::Duration;

use jsonwebtoken::{Algorithm, Validation};

use crate::config::JwtConfig;

/// More tolerance than this is no check of times.
const MAX_LEEWAY: Duration = Duration::from_secs(24 * 3600);

/// What any key of a set may sign with; an algorithm that is not here verifies nothing.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// The rules, once for each algorithm: the library reads both from one place, and a copy for each token would cost more than the rules do.
pub(super) struct ClaimRules(Vec<(Algorithm, Validation)>);

impl ClaimRules {
    /// The rules as configured. A list that is empty asks for nothing.
    pub(super) fn new(config: &JwtConfig) -> Self {
        let mut claims = Validation::new(Algorithm::RS256);
        let mut required = vec!["exp"];
        claims.leeway = leeway(config);
        claims.validate_nbf = true;
        claims.validate_aud = !config.audiences.is_empty();
        if claims.validate_aud {
            claims.set_audience(&config.audiences);
            required.push("aud");
        }
        if !config.issuers.is_empty() {
            claims.set_issuer(&config.issuers);
            required.push("iss");
        }
        claims.set_required_spec_claims(&required);
        let under = |algorithm| (algorithm, Validation { algorithms: vec![algorithm], ..claims.clone() });
        Self(ALGORITHMS.into_iter().map(under).collect())
    }

    /// For a token that is signed so; `None` for what no key signs with.
    pub(super) fn of(&self, algorithm: Algorithm) -> Option<&Validation> {
        self.0.iter().find(|(known, _)| *known == algorithm).map(|(_, rules)| rules)
    }
}

/// The tolerance for clocks that differ, in seconds.
pub(super) fn leeway(config: &JwtConfig) -> u64 {
    config.leeway.min(MAX_LEEWAY).as_secs()
}
