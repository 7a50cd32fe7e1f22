//! The dashboard: pages in HTML about what an aggregator knows.
//!
//! An unprivileged client: it reads through the same gRPC client as everyone else, holds no key, keeps no state and
//! never changes anything. All state of a page is in its URL and every page is whole without JavaScript. All text
//! that comes from logs is hostile: it goes through [`format::shown::Shown`] and askama's escaping, both, always.
//!
//! - [`routes`]: the router; the HTTP side of things
//! - [`service`]: asks the aggregator and puts pages together
//! - [`source`]: what the dashboard asks an aggregator, as a port
//! - [`view`]: what stands on a page, pure
//! - [`format`]: how hashes, times, numbers and foreign text are written, pure

#![cfg_attr(
    test,
    expect(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "tests fail by panicking"
    )
)]

mod assets;
pub mod error;
pub mod format;
pub mod metrics;
pub mod routes;
pub mod service;
pub mod source;
pub mod view;

pub use service::Dashboard;
