//! What every handle of one gateway shares: the families, and the numbers of the words used as label values.

use crate::buckets::HistogramBuckets;
use crate::certificate::{CertificateMetrics, MOST_CERTIFICATES};
use crate::endpoint::{EndpointMetrics, MOST_ENDPOINTS};
use crate::error_type::ErrorWords;
use crate::families::Families;
use crate::intern::Interner;
use crate::leases::Leases;

/// MCP methods; the specification defines 36 up to 2026-07-28.
pub(crate) const METHODS: usize = 64;
/// Outcomes; the design names 9.
pub(crate) const OUTCOMES: usize = 12;
/// MCP revisions; 5 up to 2026-07-28.
pub(crate) const VERSIONS: usize = 12;

/// Shared by the handles, never by way of [`crate::Telemetry`], so that a handle keeps nothing else alive.
pub(crate) struct Core {
    pub families: Families,
    pub methods: Interner<METHODS>,
    pub outcomes: Interner<OUTCOMES>,
    pub versions: Interner<VERSIONS>,
    pub error_words: ErrorWords,
    pub endpoints: Leases<EndpointMetrics>,
    pub certificates: Leases<CertificateMetrics>,
}

impl Core {
    pub fn new(buckets: &HistogramBuckets) -> Self {
        Self {
            families: Families::new(buckets),
            methods: Interner::new(),
            outcomes: Interner::new(),
            versions: Interner::new(),
            error_words: ErrorWords::new(),
            endpoints: Leases::new(MOST_ENDPOINTS),
            certificates: Leases::new(MOST_CERTIFICATES),
        }
    }
}
