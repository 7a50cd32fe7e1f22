//! Builders of policies and evidence for this crate's tests; only what matters to a test is said in it.

use std::collections::BTreeSet;

use quorix_nix::fingerprint::{Fingerprint, FingerprintDigest};
use quorix_nix::hash::NarHash;
use quorix_nix::signature::SecretKey;
use quorix_nix::store_path::{HashPart, StoreDir, StorePath};
use quorix_tlog::note::SigningKey;

use crate::attestation::{Build, Claim, Environment, Observation, Provenance};
use crate::decision::{Decision, decide};
use crate::evidence::{Cosigned, Evidence, LogEvidence, LogState, Said, Source, Statement};
use crate::policy::Policy;

pub(crate) fn log_key(name: &str) -> SigningKey {
    SigningKey::from_seed(format!("{name}.example/log").parse().unwrap(), seed(name))
}

pub(crate) fn nix_key(name: &str) -> SecretKey {
    SecretKey::from_seed(format!("{name}-1").parse().unwrap(), seed(name))
}

fn seed(name: &str) -> [u8; 32] {
    *NarHash::of(name.as_bytes()).as_bytes()
}

/// A path whose hash part is made from its name.
pub(crate) fn path(name: &str) -> StorePath {
    let hash = NarHash::of(name.as_bytes());
    let hash = HashPart::from_bytes(&hash.as_bytes()[..20].try_into().unwrap());
    StorePath::new(&hash, name).unwrap()
}

/// What `contents` at a path with these references is.
pub(crate) fn facts(path: &StorePath, contents: &str, references: &[&StorePath]) -> Fingerprint {
    Fingerprint {
        store_dir: StoreDir::default(),
        path: path.clone(),
        nar_hash: NarHash::of(contents.as_bytes()),
        nar_size: 120,
        references: references.iter().map(|path| (*path).clone()).collect(),
    }
}

/// A policy with builders of these names, one operator each, and further lines.
pub(crate) fn policy_of(builders: &[&str], lines: &str) -> Policy {
    let builders: String = builders.iter().map(|name| builder_line(name)).collect();
    Policy::parse(&format!("{builders}quorum none\n{lines}"))
        .unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn builder_line(name: &str) -> String {
    let (vkey, key) = (log_key(name), nix_key(name).public_key());
    format!(
        "builder {name} {} https://{name}.example operator={name} nix-key={key}\n",
        vkey.verifier()
    )
}

pub(crate) fn cache_line(name: &str) -> String {
    format!(
        "cache {name} {} https://{name}.example operator={name}\n",
        nix_key(name).public_key()
    )
}

/// Evidence under construction.
#[derive(Clone, Default)]
pub(crate) struct Known(pub(crate) Evidence);

impl Known {
    /// The logs of these builders, live.
    pub(crate) fn live(builders: &[&str]) -> Self {
        let mut known = Self::default();
        for name in builders {
            known = known.log(name, LogState::Live);
        }
        known
    }

    pub(crate) fn log(mut self, name: &str, state: LogState) -> Self {
        let origin = log_key(name).verifier().name().as_str().to_owned();
        self.0.logs.insert(
            origin,
            LogEvidence {
                state,
                size: 1_000,
                cosigned: Cosigned::new(),
                history: Vec::new(),
            },
        );
        self
    }

    pub(crate) fn stale(self, name: &str) -> Self {
        self.log(
            name,
            LogState::Stale {
                reason: "it has not answered for 3 hours".into(),
            },
        )
    }

    /// A build in a builder's log.
    pub(crate) fn says(self, builder: &str, facts: &Fingerprint) -> Self {
        self.statement(built(builder, facts))
    }

    pub(crate) fn withdrew(self, builder: &str, facts: &Fingerprint) -> Self {
        self.statement(Statement {
            withdrawn: true,
            ..built(builder, facts)
        })
    }

    /// A cache's signature.
    pub(crate) fn signed(self, cache: &str, facts: &Fingerprint) -> Self {
        self.statement(observed(cache, facts))
    }

    pub(crate) fn statement(mut self, statement: Statement) -> Self {
        self.0
            .outputs
            .entry(statement.path().hash_part())
            .or_default()
            .push(statement);
        self
    }

    /// A cache answered about a path.
    pub(crate) fn heard(mut self, cache: &str, path: &StorePath) -> Self {
        let key = *nix_key(cache).public_key().as_bytes();
        self.0
            .caches_heard
            .entry(path.hash_part())
            .or_default()
            .insert(key);
        self
    }

    pub(crate) fn content_checked(mut self, facts: &Fingerprint) -> Self {
        self.0
            .self_verified
            .insert(facts.path.clone(), facts.clone());
        self
    }

    pub(crate) fn decide(&self, policy: &Policy, path: &StorePath) -> Decision {
        decide(policy, &self.0, &path.hash_part(), 1_700_000_000)
    }
}

pub(crate) fn built(builder: &str, facts: &Fingerprint) -> Statement {
    let build = Build {
        claim: Claim::of(facts),
        content_address: None,
        derivation: None,
        provenance: Provenance::Built,
        system: "x86_64-linux".into(),
        nix_signature: Some(nix_key(builder).sign(facts)),
        inputs_root: None,
        inputs_blob: None,
        started_at_s: 0,
        finished_at_s: 0,
        environment: Environment::default(),
    };
    Statement {
        source: Source::Log {
            origin: log_key(builder).verifier().name().as_str().into(),
            index: 7,
        },
        said: Said::Build(Box::new(build)),
        facts: Some(facts.clone()),
        inputs: None,
        withdrawn: false,
    }
}

pub(crate) fn observed(cache: &str, facts: &Fingerprint) -> Statement {
    let key = nix_key(cache);
    let seen = Observation {
        claim: Claim::of(facts),
        public_key: key.public_key(),
        signature: key.sign(facts),
    };
    Statement {
        source: Source::Unlogged,
        said: Said::Observation(Box::new(seen)),
        facts: Some(facts.clone()),
        inputs: None,
        withdrawn: false,
    }
}

pub(crate) fn digests(facts: &[&Fingerprint]) -> BTreeSet<FingerprintDigest> {
    facts.iter().map(|facts| facts.digest()).collect()
}
