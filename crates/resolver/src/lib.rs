//! The resolver: a Nix binary cache that serves only what the policy accepts, with bytes from sources that nobody
//! has to trust.
//!
//! It takes no aggregator's word: evidence is verified and decided here. A narinfo is built from the voted facts,
//! never copied; a NAR is hashed and parsed to its end before its first byte leaves. Whatever it cannot find out it
//! does not serve. It binds no listener; `quorix` does. Specification: DESIGN §8, SEMANTICS §3, Nix's binary-cache
//! protocol.
//!
//! - [`config`]: keys, sources, limits and budgets
//! - [`sources`]: where NARs come from, and how that fails
//! - [`content`]: recomputes content-addressed paths from their bytes
//! - [`service`]: decides, signs and fetches
//! - [`routes`]: the same over HTTP
//! - [`error`]: why there is no answer

#![cfg_attr(
    test,
    expect(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "tests fail by panicking"
    )
)]

pub mod config;
pub mod content;
pub mod error;
pub mod routes;
pub mod service;
pub mod sources;

mod acceptances;
mod decide;
mod flight;
mod memo;
mod metrics;
mod narinfo;
mod nars;
mod promises;

#[cfg(test)]
mod tests;
