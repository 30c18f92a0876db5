//! Which way a message travels.

/// Which way a message travels between an MCP client and an MCP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Sent by the client: its requests, its notifications, its answers to a server's request.
    ClientToServer,
    /// Sent by the server: its answers, its notifications, its requests to the client.
    ServerToClient,
}

impl Direction {
    /// The name used in labels and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientToServer => "client-to-server",
            Self::ServerToClient => "server-to-client",
        }
    }

    /// The direction an answer travels.
    #[must_use]
    pub const fn reverse(self) -> Self {
        match self {
            Self::ClientToServer => Self::ServerToClient,
            Self::ServerToClient => Self::ClientToServer,
        }
    }
}
