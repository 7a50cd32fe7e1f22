//! Where each statement about an output stands: log, leaf, checkpoint, and what the builder tells of the build.

use quorix_wire::pb;

use super::Letter;
use super::outputs::parts;
use crate::format::hash::Hash;
use crate::format::shown::Shown;
use crate::format::time::When;
use crate::format::{segment, thousands};

/// Statements shown.
pub const STATEMENTS_MAX: usize = 200;

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The value that it says.
    pub letter: Letter,
    /// The builder's or cache's name in the policy.
    pub name: Shown,
    /// Page of the builder's log.
    pub href: String,
    /// Whose vote it is.
    pub operator: Shown,
    /// False for a cache's signature that no log carries.
    pub logged: bool,
    /// The log's own name.
    pub origin: Shown,
    /// Index of the leaf.
    pub index: String,
    /// Size of the checkpoint that covers it.
    pub checkpoint_size: String,
    /// Name of the cache's key.
    pub nix_key: Shown,
    /// When the build ended.
    pub finished: Option<When>,
    /// Nix system.
    pub system: Shown,
    /// Version of Nix.
    pub nix_version: Shown,
    /// What was built.
    pub derivation: Option<Derivation>,
}

/// A derivation, short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derivation {
    /// Its hash part.
    pub hash: Hash,
    /// Its name.
    pub name: Shown,
}

/// All statements, by value and then in the policy's order, and how many are not shown.
#[must_use]
pub fn statements(operators: &[pb::OperatorStanding], now_s: u64) -> (Vec<Statement>, usize) {
    let sources = operators.iter().flat_map(|operator| {
        operator
            .sources
            .iter()
            .map(move |source| (operator, source))
    });
    let mut sources: Vec<_> = sources.collect();
    sources.sort_by_key(|(_, source)| (source.letter.len(), source.letter.as_str()));
    let omitted = sources.len().saturating_sub(STATEMENTS_MAX);
    let shown = sources.into_iter().take(STATEMENTS_MAX);
    (
        shown
            .map(|(operator, source)| Statement::new(operator, source, now_s))
            .collect(),
        omitted,
    )
}

impl Statement {
    fn new(operator: &pb::OperatorStanding, source: &pb::ClaimSource, now_s: u64) -> Self {
        let (hash, name) = parts(&source.drv_path);
        Self {
            letter: Letter::new(&source.letter),
            name: Shown::line(&source.name),
            href: format!("/logs/{}", segment(&source.name)),
            operator: Shown::line(&operator.operator),
            logged: !source.origin.is_empty(),
            origin: Shown::line(&source.origin),
            index: thousands(source.index),
            checkpoint_size: thousands(source.checkpoint_size),
            nix_key: Shown::line(&source.nix_key),
            finished: When::new(source.finished_at_s, now_s),
            system: Shown::line(&source.system),
            nix_version: Shown::line(&source.nix_version),
            derivation: (!source.drv_path.is_empty()).then(|| Derivation {
                hash: Hash::new(hash),
                name: Shown::line(name),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(letter: &str, origin: &str) -> pb::ClaimSource {
        pb::ClaimSource {
            letter: letter.into(),
            name: "alice/1".into(),
            origin: origin.into(),
            index: 4_711,
            checkpoint_size: 126_000,
            drv_path: "/nix/store/71jpi5bf3l22gw0b56r8mfzlrxrrck1i-ghc-9.10.3.drv".into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_statement_names_log_leaf_and_checkpoint() {
        let operator = pb::OperatorStanding {
            sources: vec![source("B", ""), source("A", "logs.example.org/alice")],
            ..Default::default()
        };
        let (statements, omitted) = statements(&[operator], 1);
        assert_eq!(omitted, 0);
        let first = &statements[0];
        assert_eq!((first.letter.text.as_str(), first.logged), ("A", true));
        assert_eq!(
            (first.index.as_str(), first.checkpoint_size.as_str()),
            ("4,711", "126,000")
        );
        assert_eq!(first.href, "/logs/alice%2F1");
        assert_eq!(
            first.derivation.as_ref().unwrap().name.as_str(),
            "ghc-9.10.3.drv"
        );
        assert!(!statements[1].logged);
        assert_eq!(first.finished, None);
    }

    #[test]
    fn statements_without_number_are_bounded_and_counted() {
        let operator = pb::OperatorStanding {
            sources: vec![source("A", "x"); STATEMENTS_MAX + 7],
            ..Default::default()
        };
        let (statements, omitted) = statements(&[operator], 1);
        assert_eq!((statements.len(), omitted), (STATEMENTS_MAX, 7));
    }
}
