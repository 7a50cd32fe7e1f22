//! Attesting, and the way from a build to the log, on stores of the installed Nix.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

#[path = "real_nix/attesting.rs"]
mod attesting;
#[path = "real_nix/fake_log.rs"]
mod fake_log;
#[path = "real_nix/flushing.rs"]
mod flushing;
#[path = "../../host/tests/real_nix/world.rs"]
mod world;
