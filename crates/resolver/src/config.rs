//! What a resolver is given: its key, its sources, its limits and budgets.
//!
//! Nothing here is read from files or the environment: `quorix` does that.

use std::path::PathBuf;
use std::time::Duration;

use quorix_nix::signature::SecretKey;
use quorix_nix::store_path::StoreDir;

use crate::error::StartError;
use crate::sources::Source;

/// How a resolver decides, fetches and serves.
#[derive(Clone, Debug)]
pub struct ResolverConfig {
    /// The Nix key that signs every narinfo; clients trust its public half.
    pub key: SecretKey,
    /// The store directory of its clients.
    pub store_dir: StoreDir,
    /// Where NARs come from, the preferred one first. None of them is trusted.
    pub sources: Vec<Source>,
    /// What `nix-cache-info` says: clients ask the cache with the lowest number first.
    pub priority: u32,
    /// A directory of its own for verified NARs, for what was promised to clients, and accepted. NARs in it are removed at
    /// each start.
    pub spool_dir: PathBuf,
    /// Most bytes of NARs in `spool_dir`. While content-addressed paths are recomputed, there may be
    /// `recomputations_at_once` times `recomputed_size_max` bytes more.
    pub spool_bytes_max: u64,
    /// Most bytes of one NAR; a larger output is not served.
    pub nar_size_max: u64,
    /// How long a decision may be used again, in whole seconds.
    pub decision_ttl: Duration,
    /// The longest that one request waits for a decision. The work goes on, for whoever asks again.
    pub hold: Duration,
    /// The longest that one decision may take in all.
    pub decision_timeout: Duration,
    /// Outputs that are being decided at once; whoever asks about another is told to ask again.
    pub decisions_at_once: usize,
    /// How many content-addressed paths one decision may have fetched and recomputed.
    pub content_checks: usize,
    /// The longest that one decision may wait for content-addressed paths in all.
    pub content_budget: Duration,
    /// The longest that a source may be silent while it sends a NAR.
    pub source_idle_timeout: Duration,
    /// The longest that one source may take for one NAR.
    pub source_timeout: Duration,
    /// For how long a source may send a NAR as slowly as it likes.
    pub source_grace: Duration,
    /// Bytes of NAR that a source must send in each second on average, after `source_grace`. 0 asks for none.
    pub source_bytes_per_s_min: u64,
    /// NARs of accepted outputs that are fetched at once.
    pub fetches_at_once: usize,
    /// Content-addressed paths that are fetched and recomputed at once.
    pub recomputations_at_once: usize,
    /// Most bytes of the NAR of a content-addressed path that is recomputed.
    pub recomputed_size_max: u64,
}

impl ResolverConfig {
    /// The defaults, with no sources.
    #[must_use]
    pub fn new(key: SecretKey, spool_dir: PathBuf) -> Self {
        Self {
            key,
            store_dir: StoreDir::default(),
            sources: Vec::new(),
            priority: 30,
            spool_dir,
            spool_bytes_max: 8 << 30,
            nar_size_max: 4 << 30,
            decision_ttl: Duration::from_secs(5),
            hold: Duration::from_secs(5),
            decision_timeout: Duration::from_secs(60),
            decisions_at_once: 1_024,
            content_checks: 64,
            content_budget: Duration::from_secs(30),
            source_idle_timeout: Duration::from_secs(15),
            source_timeout: Duration::from_secs(600),
            source_grace: Duration::from_secs(20),
            source_bytes_per_s_min: 4 << 10,
            fetches_at_once: 8,
            recomputations_at_once: 2,
            recomputed_size_max: 256 << 20,
        }
    }

    /// The largest NAR that is fetched to recompute a path, in bytes.
    pub(crate) fn recomputed_limit(&self) -> u64 {
        self.recomputed_size_max.min(self.nar_limit())
    }

    /// The largest NAR that can be served, in bytes.
    pub(crate) fn nar_limit(&self) -> u64 {
        self.nar_size_max.min(self.spool_bytes_max)
    }

    /// Refuses values with which serving cannot work.
    ///
    /// # Errors
    /// [`StartError::Config`] naming the field and what is allowed.
    pub fn check(&self) -> Result<(), StartError> {
        let is_some_time = |time: Duration| !time.is_zero() && time <= Duration::from_secs(86_400);
        let rules = [
            (
                self.spool_dir.is_absolute(),
                "spool_dir",
                "an absolute path",
            ),
            (
                self.spool_bytes_max > 0,
                "spool_bytes_max",
                "at least 1 byte",
            ),
            (self.nar_size_max > 0, "nar_size_max", "at least 1 byte"),
            (
                self.decision_ttl <= Duration::from_secs(60),
                "decision_ttl",
                "at most 60 s, as long as a lost quorum may go unnoticed",
            ),
            (
                is_some_time(self.hold),
                "hold",
                "more than 0 and at most a day",
            ),
            (
                is_some_time(self.decision_timeout),
                "decision_timeout",
                "more than 0 and at most a day",
            ),
            (
                is_some_time(self.source_idle_timeout),
                "source_idle_timeout",
                "more than 0 and at most a day",
            ),
            (
                is_some_time(self.source_timeout),
                "source_timeout",
                "more than 0 and at most a day",
            ),
            (
                (1..=1_024).contains(&self.fetches_at_once),
                "fetches_at_once",
                "1 to 1,024",
            ),
            (
                (1..=1_024).contains(&self.recomputations_at_once),
                "recomputations_at_once",
                "1 to 1,024",
            ),
            (
                (1..=65_536).contains(&self.decisions_at_once),
                "decisions_at_once",
                "1 to 65,536",
            ),
            (
                self.content_checks <= 1_024,
                "content_checks",
                "at most 1,024",
            ),
            (self.sources.len() <= 64, "sources", "at most 64"),
        ];
        match rules.into_iter().find(|(holds, _, _)| !holds) {
            Some((_, field, allowed)) => Err(StartError::Config { field, allowed }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use quorix_testkit::entries::nix_key;

    use super::*;

    #[test]
    fn the_defaults_are_allowed_and_a_value_that_cannot_work_is_named() {
        let config = ResolverConfig::new(nix_key("resolver-1"), "/var/lib/quorix/resolver".into());
        assert_eq!(config.check(), Ok(()));
        let relative = ResolverConfig {
            spool_dir: "spool".into(),
            ..config.clone()
        };
        assert_eq!(
            relative.check(),
            Err(StartError::Config {
                field: "spool_dir",
                allowed: "an absolute path"
            })
        );
        let endless = ResolverConfig {
            decision_ttl: Duration::from_secs(3600),
            ..config
        };
        let refused = endless.check().unwrap_err().to_string();
        assert!(refused.contains("decision_ttl"), "{refused}");
    }
}
