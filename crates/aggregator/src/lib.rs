//! The aggregator: follows logs, verifies them, indexes what they say, gathers evidence, decides, and tells events.
//!
//! It reads logs by their tiles over HTTP only and believes none of them: nothing is stored that does not hash to
//! a signed checkpoint. It never invents, repairs or drops a statement, never breaks a tie, and lifts no quarantine
//! by itself. It binds no listener; `quorix` does. Specification: DESIGN §6, SEMANTICS §2, §3 and §5, C2SP
//! tlog-tiles.
//!
//! - [`config`]: intervals, limits and budgets
//! - [`service`]: starting, gathering, deciding, searching, stopping
//! - [`grpc`]: the same as a gRPC service; [`routes`]: as JSON over HTTP
//! - [`import`]: signatures of caches in bulk
//! - [`events`]: what happens, as it happens
//! - [`reindex`]: the index built anew
//! - [`gossip`]: what logs show others
//! - [`webhook`]: events for others
//! - [`error`]: why a question has no answer
//! - [`metrics`]: counters and gauges

#![cfg_attr(
    test,
    expect(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests fail by panicking"
    )
)]

pub mod config;
pub mod error;
pub mod events;
pub mod gossip;
pub mod grpc;
pub mod import;
pub mod metrics;
pub mod reindex;
pub mod routes;
pub mod service;
mod stand;
pub mod webhook;

mod answer;
mod at_rest;
mod blobs;
mod caches;
mod closure;
mod content;
mod cosign;
mod follow;
mod gather;
mod index;
mod listing;
mod logs;
mod machine;
mod memo;
mod mirror;
mod query;
mod remembered;

#[cfg(test)]
mod tests;
