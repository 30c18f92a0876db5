//! What the access line says of an exchange's messages, gathered while they pass.

use watchgate_mcp::Outcome;
use watchgate_telemetry::{AccessLine, AuthResult, ErrorType, NameKind};

use crate::operation::OpenOperation;

/// What the access line says of the messages: the first operation's method and name, the last error.
#[derive(Clone, Default)]
pub(crate) struct LineFacts {
    method: Option<&'static str>,
    name: Option<Box<str>>,
    name_kind: Option<NameKind>,
    operations: u32,
    pub(crate) rpc_error_code: Option<i64>,
    /// What the answer says of the error: for spans only, once it is cleared.
    pub(crate) error_message: Option<Box<str>>,
    pub(crate) error_id: Option<Box<str>>,
    pub(crate) fault: Option<&'static str>,
    /// Why the gate let nobody in.
    pub(crate) auth_result: Option<AuthResult>,
    pub(crate) is_listen: bool,
}

impl LineFacts {
    /// The client sent a request or notification.
    pub(crate) fn note_operation(&mut self, operation: &OpenOperation) {
        self.operations += 1;
        self.is_listen |= operation.is_listen();
        if self.operations == 1 {
            self.method = Some(operation.known_method().unwrap_or("_other"));
            self.name.clone_from(&operation.name);
            self.name_kind = operation.name_kind();
        }
    }

    /// The first operation's method; `_other` when the specification does not define it.
    pub(crate) fn method(&self) -> Option<&'static str> {
        self.method
    }

    /// What it names.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What kind of name that is.
    pub(crate) fn name_kind(&self) -> Option<NameKind> {
        self.name_kind
    }

    /// How many there were.
    pub(crate) fn operations(&self) -> u32 {
        self.operations
    }

    /// Whose fault the outcome is.
    pub(crate) fn fault(&self, outcome: Outcome, status: u16) -> Option<&'static str> {
        self.fault.or_else(|| blame(outcome, status, self.rpc_error_code))
    }

    /// The fields of the line that come from messages.
    pub(crate) fn into_access_line(self, outcome: Outcome, status: u16) -> AccessLine {
        let fault = self.fault(outcome, status);
        AccessLine {
            mcp_method: self.method,
            name: self.name,
            name_kind: self.name_kind,
            operations: self.operations,
            rpc_error_code: self.rpc_error_code,
            error_id: self.error_id,
            fault,
            auth_result: self.auth_result.map(AuthResult::as_str),
            ..AccessLine::default()
        }
    }
}

/// Whose fault an outcome is, where the gateway did not say so itself.
fn blame(outcome: Outcome, status: u16, rpc_error_code: Option<i64>) -> Option<&'static str> {
    match outcome {
        Outcome::Ok => None,
        // Everyday: a stream that the server does not offer, a session that it has forgotten, no credentials yet.
        Outcome::HttpError if (400..500).contains(&status) => Some("client"),
        Outcome::RpcError if rpc_error_code.is_some_and(|code| !ErrorType::Rpc(code).is_server_error()) => Some("client"),
        Outcome::ToolError | Outcome::RpcError | Outcome::HttpError | Outcome::Aborted | Outcome::Unreachable | Outcome::Timeout => {
            Some("upstream")
        }
        Outcome::Cancelled => Some("client"),
        Outcome::Denied => Some("plugin"),
    }
}
