//! The formats of Nix, as pure functions over bytes: hashes, store paths, NAR archives, narinfo, signatures, derivations.
//!
//! Nothing here reads a file, a clock or the network. Every parser takes hostile input: it never panics, holds a
//! bounded amount of memory and says what was wrong and where. Every printer gives exactly the bytes that Nix itself
//! would write, so that values may be hashed, signed and compared.

#![cfg_attr(
    test,
    expect(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests fail by panicking"
    )
)]

#[cfg(test)]
mod arbitrary;
mod base64;
pub mod cache_info;
pub mod content_address;
pub mod derivation;
pub mod fingerprint;
pub mod hash;
pub mod nar;
pub mod narinfo;
pub mod nix32;
pub mod signature;
pub mod store_path;
