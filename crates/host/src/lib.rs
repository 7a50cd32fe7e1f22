//! The local Nix: its store database, the bytes of its paths, its settings, and the program itself.
//!
//! The only crate that knows any of these. It only ever reads: nothing here writes to a store, takes Nix's locks or
//! talks to its daemon. It reads no environment either; whoever runs a program passes in what it needs.
//!
//! - [`location`]: where a store is, and which store a hook runs for
//! - [`store`]: what the store database says of its paths
//! - [`dump`]: a path as a NAR
//! - [`content`]: content-addressed paths, recomputed from their bytes
//! - [`roots`]: what of a store is in use
//! - [`settings`]: the text of `nix.conf` and `NIX_CONFIG`
//! - [`machine`]: implementation and version of Nix, kernel, cores
//! - [`key`]: Nix secret key files

#![cfg_attr(test, expect(clippy::unwrap_used, reason = "tests fail by panicking"))]

pub mod content;
pub mod dump;
pub mod key;
pub mod location;
pub mod machine;
pub mod roots;
pub mod settings;
pub mod store;
