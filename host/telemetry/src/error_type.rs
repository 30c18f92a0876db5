//! What went wrong, as the `error_type` label: the specification's codes, HTTP statuses, and the gateway's own words.

use crate::http_status;
use crate::intern::Interner;

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// The code of a JSON-RPC error.
    Rpc(i64),
    /// A result with `isError: true`.
    ToolError,
    /// An HTTP status of 400 or above without a JSON-RPC error.
    Http(u16),
    /// A word of the gateway's own, a constant of the program.
    Named(&'static str),
}

/// The JSON-RPC codes that have a label of their own: those of JSON-RPC and MCP, then the gateway's.
const RPC_CODES: [(i64, &str); 16] = [
    (-32700, "-32700"),
    (-32600, "-32600"),
    (-32601, "-32601"),
    (-32602, "-32602"),
    (-32603, "-32603"),
    (-32002, "-32002"),
    (-32020, "-32020"),
    (-32021, "-32021"),
    (-32022, "-32022"),
    (-32042, "-32042"),
    (-31001, "-31001"),
    (-31002, "-31002"),
    (-31003, "-31003"),
    (-31004, "-31004"),
    (-31005, "-31005"),
    (-31006, "-31006"),
];

/// The codes that are the caller's mistake and, by the OpenTelemetry MCP conventions, no error of the server.
const NO_SERVER_ERROR: [i64; 5] = [-32700, -32600, -32601, -32602, -32002];

/// The gateway's own words seen so far.
pub(crate) type ErrorWords = Interner<32>;

impl ErrorType {
    /// A number that is equal for equal labels, below 2^16; 0 is no error.
    pub(crate) fn number(self, words: &ErrorWords) -> u16 {
        let (space, within) = match self {
            Self::Rpc(code) => (1_u16, RPC_CODES.iter().position(|(known, _)| *known == code).unwrap_or(RPC_CODES.len())),
            Self::ToolError => (2, 0),
            Self::Http(status) => (3, http_status::number(status)),
            Self::Named(word) => (4, words.number(word)),
        };
        space << 8 | u16::try_from(within).expect("each of these sets has fewer than 256 members")
    }

    /// The label value.
    pub(crate) fn label(self, words: &ErrorWords) -> &'static str {
        match self {
            Self::Rpc(_) => self.rpc_code(),
            Self::ToolError => "tool_error",
            Self::Http(status) => http_status::label(http_status::number(status)),
            Self::Named(word) => words.text(words.number(word)),
        }
    }

    /// The label value of the JSON-RPC error's code; empty where there is none.
    pub(crate) fn rpc_code(self) -> &'static str {
        match self {
            Self::Rpc(code) => RPC_CODES.iter().find(|(known, _)| *known == code).map_or(crate::intern::OTHER, |(_, label)| label),
            Self::ToolError | Self::Http(_) | Self::Named(_) => "",
        }
    }

    /// Whether it counts as an error of the side that answered.
    pub fn is_server_error(self) -> bool {
        !matches!(self, Self::Rpc(code) if NO_SERVER_ERROR.contains(&code))
    }
}

#[cfg(test)]
mod tests {
    use super::{ErrorType, ErrorWords, RPC_CODES};

    fn check(error: ErrorType, label: &str, server_error: bool) {
        let words = ErrorWords::new();
        assert_eq!(error.label(&words), label, "{error:?}");
        assert_eq!(error.is_server_error(), server_error, "{error:?}");
        assert!(error.number(&words) > 0, "{error:?}");
    }

    #[test]
    fn labels_are_the_specifications_or_ours_or_other() {
        check(ErrorType::Rpc(-32603), "-32603", true);
        check(ErrorType::Rpc(-32602), "-32602", false);
        check(ErrorType::Rpc(-31004), "-31004", true);
        check(ErrorType::Rpc(-32000), "_other", true);
        check(ErrorType::Rpc(i64::MIN), "_other", true);
        check(ErrorType::ToolError, "tool_error", true);
        check(ErrorType::Http(503), "503", true);
        check(ErrorType::Http(599), "_other", true);
        check(ErrorType::Named("timeout"), "timeout", true);
    }

    #[test]
    fn every_code_reads_as_its_number() {
        for (code, label) in RPC_CODES {
            assert_eq!(code.to_string(), label);
        }
    }
}
