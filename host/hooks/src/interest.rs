//! What a redaction policy declared in `start` that it wants to see.

use watchgate_mcp::Direction;

use crate::message::Surface;

/// The declared interest of one policy. An empty list means "all". What the host cannot evaluate (a method that is not
/// known) counts as matching.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Surfaces wanted.
    pub surfaces: Vec<Surface>,
    /// Directions wanted.
    pub directions: Vec<Direction>,
    /// JSON-RPC methods wanted, with the answers to them.
    pub methods: Vec<String>,
    /// Tools wanted, with their results. Only narrows messages of `tools/call`.
    pub tools: Vec<String>,
    /// Literal triggers, lower-cased ASCII. Empty: no pre-scan, every other match calls.
    pub triggers: Vec<String>,
}

impl Interest {
    /// Whether a message with this surface, direction, method and name may interest the policy, triggers aside.
    pub fn matches(&self, surface: Surface, direction: Direction, method: Option<&str>, name: Option<&str>) -> bool {
        let surface_wanted = self.surfaces.is_empty() || self.surfaces.contains(&surface);
        let direction_wanted = surface == Surface::Telemetry || self.directions.is_empty() || self.directions.contains(&direction);
        let method_wanted = match method {
            Some(method) => self.methods.is_empty() || self.methods.iter().any(|wanted| wanted == method),
            None => true,
        };
        let tool_wanted = match (method, name) {
            (Some("tools/call"), Some(name)) => self.tools.is_empty() || self.tools.iter().any(|wanted| wanted == name),
            (Some("tools/call") | None, _) => true,
            // A policy that wants tools only has no interest in messages that are not tool calls.
            (Some(_), _) => self.tools.is_empty(),
        };
        surface_wanted && direction_wanted && method_wanted && tool_wanted
    }
}
