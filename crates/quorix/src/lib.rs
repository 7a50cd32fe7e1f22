//! The program `quorix`: commands, configuration, listeners and wiring of the roles.
//!
//! The only crate that reads the environment and opens files at start. Services are handed what they need and
//! return routers and futures; this crate binds addresses, serves, and stops everything in order.
//!
//! - [`cli`]: what can be typed; `commands/` has a file for each command
//! - [`config`]: the one configuration file
//! - [`wiring`]: from configuration to running roles
//! - [`demo`]: the main job, played on this machine with real Nix
//! - [`bench`]: the figures of this machine

#![cfg_attr(
    test,
    expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")
)]

pub mod bench;
pub mod cli;
pub mod commands;
pub mod config;
pub mod demo;
pub mod listen;
pub mod output;
pub mod reload;
pub mod telemetry;
pub mod wiring;
