//! The end-to-end harness: the real gateway binary, real MCP peers, scripted upstreams, raw clients.
//!
//! Everything here is blocking and thread-based on purpose: a test decides byte by byte what is on
//! the wire and when, and no runtime stands between the two.

pub mod conformance;
pub mod gateway;
pub mod http1;
pub mod leak;
pub mod metrics;
pub mod observation;
pub mod operator;
pub mod peers;
pub mod plugins;
pub mod process;
pub mod programs;
pub mod prometheus;
pub mod protobuf;
pub mod random;
pub mod raw;
pub mod reference;
pub mod scripted_socket;
pub mod soak;
pub mod upstream;
pub mod vitals;
pub mod wait;

pub use gateway::{Gateway, GatewayOptions};
pub use http1::{Connection, Head, Reply};
pub use leak::leaked;
pub use plugins::PluginFolder;
pub use prometheus::Prometheus;
pub use random::Random;
pub use reference::Reference;
pub use scripted_socket::ScriptedSocket;
pub use upstream::{Exchange, Received, Scripted};
pub use wait::{DEADLINE, Gate, wait_until};
