//! How an operation or an exchange ended: one closed set for code, labels and documents.

/// How an operation or an exchange ended. The words are label values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Answered, and the answer reports no failure.
    Ok,
    /// Answered with a result whose `isError` is true.
    ToolError,
    /// Answered with a JSON-RPC error, whatever the HTTP status.
    RpcError,
    /// HTTP status 400 or above without a JSON-RPC error in the body.
    HttpError,
    /// A redaction plugin refused the message, or could not clear it.
    Denied,
    /// A deadline of the gateway passed.
    Timeout,
    /// No connection to the upstream server.
    Unreachable,
    /// The client left before the end.
    Cancelled,
    /// The upstream server cut the answer off, or the answer never came.
    Aborted,
}

impl Outcome {
    /// Every outcome, in the order of declaration.
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::ToolError,
        Self::RpcError,
        Self::HttpError,
        Self::Denied,
        Self::Timeout,
        Self::Unreachable,
        Self::Cancelled,
        Self::Aborted,
    ];

    /// The label value, in snake case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ToolError => "tool_error",
            Self::RpcError => "rpc_error",
            Self::HttpError => "http_error",
            Self::Denied => "denied",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Cancelled => "cancelled",
            Self::Aborted => "aborted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome;
    use std::collections::HashSet;

    #[test]
    fn every_outcome_has_its_own_label() {
        let labels: HashSet<_> = Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect();
        assert_eq!(labels.len(), Outcome::ALL.len());
    }
}
