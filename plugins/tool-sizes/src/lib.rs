//! Stock plugin `tool-sizes`: a metric derivation that tells how large the arguments and results of each tool are, and of what types the
//! content of its results is.
//!
//! | metric | type | labels |
//! |---|---|---|
//! | `tool_sizes_argument_bytes` | histogram | `server`, `tool` |
//! | `tool_sizes_result_bytes` | histogram, of calls that have a result | `server`, `tool` |
//! | `tool_sizes_content_blocks_total` | counter | `server`, `tool`, `content_type` |
//!
//! `tool` is the tool's name where the server answered the call with a result, else `_other`: clients may ask for any name, and each would
//! make series of its own. The plugin has no settings.

use watchgate_plugin::{Counter, Histogram, MetricDerivation, Operation, Plugin, Setup, export_plugin};

/// Upper bounds in bytes: from an empty object to the largest message, by four.
const BUCKETS: [f64; 10] = [64.0, 256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0];

struct ToolSizes {
    argument_bytes: Histogram,
    result_bytes: Histogram,
    content_blocks: Counter,
}

impl Plugin for ToolSizes {
    fn start(_setup: &Setup) -> Result<Self, String> {
        let by_tool = ["server", "tool"];
        Ok(Self {
            argument_bytes: Histogram::declare(
                "tool_sizes_argument_bytes",
                "Size of tool arguments as JSON.",
                "bytes",
                &by_tool,
                &BUCKETS,
            )?,
            result_bytes: Histogram::declare("tool_sizes_result_bytes", "Size of tool results as JSON.", "bytes", &by_tool, &BUCKETS)?,
            content_blocks: Counter::declare(
                "tool_sizes_content_blocks_total",
                "Content blocks in tool results.",
                "",
                &["server", "tool", "content_type"],
            )?,
        })
    }
}

impl MetricDerivation for ToolSizes {
    fn observe(&mut self, operation: &Operation) {
        if operation.method() != "tools/call" {
            return;
        }
        let server = operation.server();
        let has_result = has_result(&operation.outcome());
        let name = operation.name();
        let tool = tool_label(has_result, name.as_deref());
        self.argument_bytes.observe(operation.argument_bytes() as f64, &[&server, tool]);
        if has_result {
            self.result_bytes.observe(operation.result_bytes() as f64, &[&server, tool]);
            for blocks in operation.content() {
                self.content_blocks.add(f64::from(blocks.count), &[&server, tool, &blocks.content_type]);
            }
        }
    }
}

/// Whether the server answered with a result. A tool that failed (`isError`) has one too.
fn has_result(outcome: &str) -> bool {
    matches!(outcome, "ok" | "tool_error")
}

fn tool_label(has_result: bool, name: Option<&str>) -> &str {
    match name {
        Some(name) if has_result => name,
        _ => "_other",
    }
}

export_plugin!(ToolSizes: derivation);

#[cfg(test)]
mod tests {
    use super::{BUCKETS, has_result, tool_label};

    /// The label of a call of `search` that ended so.
    fn check(outcome: &str, expected: &str) {
        assert_eq!(tool_label(has_result(outcome), Some("search")), expected, "{outcome}");
        assert_eq!(tool_label(has_result(outcome), None), "_other");
    }

    #[test]
    fn names_only_tools_that_answered() {
        check("ok", "search");
        check("tool_error", "search");
        for outcome in ["rpc_error", "http_error", "denied", "timeout", "unreachable", "cancelled", "aborted", "something_new", ""] {
            check(outcome, "_other");
        }
    }

    #[test]
    fn buckets_rise_within_the_contract() {
        assert!(BUCKETS.len() <= 30 && BUCKETS.is_sorted_by(|low, high| low < high));
    }
}
