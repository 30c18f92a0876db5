//! The sample MCP server, built on `rmcp`: a shop whose answers hold what they should not.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use hyper_util::service::TowerToHyperService;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResult, ContentBlock, ProgressNotificationParam, RequestMetaObject};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{Peer, RoleServer, ServerHandler, schemars, tool, tool_handler, tool_router};
use serde::Deserialize;

use crate::loopback;
use crate::secrets::{EMAIL, KEY};

/// Steps of the report, each of which is told to the client.
pub const REPORT_STEPS: u32 = 4;
/// The tools, as `expected-tools` is told to expect them.
pub const TOOLS: [&str; 4] = ["lookup_customer", "monthly_report", "refund_order", "stock_level"];

#[derive(Clone)]
struct Shop;

#[derive(Deserialize, schemars::JsonSchema)]
struct Customer {
    /// The customer's number.
    number: u32,
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Order {
    /// The order's number.
    number: u32,
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Item {
    /// What is asked for.
    name: String,
}

#[tool_router]
impl Shop {
    #[tool(description = "Everything that is known about a customer")]
    async fn lookup_customer(&self, Parameters(Customer { number }): Parameters<Customer>) -> String {
        format!("Customer {number}: Ada Lovelace, {EMAIL}. Invoices are stored with the access key {KEY}.")
    }

    #[tool(description = "How many pieces of an item there are")]
    async fn stock_level(&self, Parameters(Item { name }): Parameters<Item>) -> String {
        format!("{} pieces of {name}", name.len() * 7)
    }

    #[tool(description = "Gives a customer the money back")]
    async fn refund_order(&self, Parameters(Order { number }): Parameters<Order>) -> CallToolResult {
        CallToolResult::error(vec![ContentBlock::text(format!("order {number} cannot be refunded: the bank does not answer"))])
    }

    #[tool(description = "The month in figures, with progress on the way")]
    async fn monthly_report(&self, meta: RequestMetaObject, client: Peer<RoleServer>) -> String {
        if let Some(token) = meta.get_progress_token() {
            for step in 1..=REPORT_STEPS {
                let progress = ProgressNotificationParam::new(token.clone(), f64::from(step))
                    .with_total(f64::from(REPORT_STEPS))
                    .with_message(format!("chapter {step}, requested by {EMAIL}"));
                // Whoever asked may have left; the report is finished all the same.
                let _ = client.notify_progress(progress).await;
            }
        }
        format!("Sales doubled. Questions to {EMAIL}; raw data with {KEY}.")
    }
}

#[tool_handler]
impl ServerHandler for Shop {}

/// Starts the server and gives its address; its endpoint is `/mcp`.
pub async fn start() -> Result<SocketAddr> {
    let (listener, address) = loopback::listen().await?;
    // Plain JSON where the era allows it, so that both forms of an answer occur.
    let config = StreamableHttpServerConfig::default().with_json_response(true);
    let service = StreamableHttpService::new(|| Ok(Shop), Arc::new(LocalSessionManager::default()), config);
    tokio::spawn(loopback::serve(listener, TowerToHyperService::new(service)));
    Ok(address)
}
