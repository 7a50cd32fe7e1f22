//! What is asked of whoever can recompute content-addressed paths.
//!
//! A port: the resolver implements it, the aggregator is given one. It never decides whether a path is accepted.

use futures::future::BoxFuture;
use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::store_path::StorePath;

/// Fetches content-addressed paths and recomputes their names from their bytes.
pub trait ContentVerifier: Send + Sync + 'static {
    /// The whole fingerprint of `path`, computed from its NAR, if some source has it as content-addressed and the
    /// path computed from that NAR is exactly `path`; `None` if no source has it so.
    ///
    /// The error is a sentence for people: why it could not be found out.
    fn verify<'a>(
        &'a self,
        path: &'a StorePath,
    ) -> BoxFuture<'a, Result<Option<Fingerprint>, String>>;
}
