//! The room's promises, kept from outside: only its public interface is used.

#![allow(clippy::unwrap_used)]

mod access_lines;
mod cardinality;
mod everything;
mod exposition;
mod handles;
mod plugin_series;
mod promtool;
mod recent_lines;
mod reference;
mod retiring;
mod scene;
mod scrape;
mod views;
