//! The endpoint event of HTTP+SSE (2024-11-05), rewritten for mounted servers.
