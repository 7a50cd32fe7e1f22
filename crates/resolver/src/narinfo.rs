//! The narinfo of an accepted output, built from the voted facts alone.
//!
//! Nothing that a source says gets in. The deriver is an unsigned hint that agreeing builders give; where they do not
//! all give the same, it is left out.

use std::collections::BTreeSet;

use quorix_nix::content_address::ContentAddress;
use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::narinfo::{Compression, NarInfo};
use quorix_nix::signature::SecretKey;
use quorix_nix::store_path::StorePath;
use quorix_trust::decision::{Decision, OperatorState, agreeing_signatures};
use quorix_trust::evidence::{Evidence, Said, Source};
use quorix_trust::policy::Policy;

/// Describes accepted facts to Nix. `ca` is given for paths that were recomputed from their content.
pub(crate) fn narinfo(
    policy: &Policy,
    evidence: &Evidence,
    decision: &Decision,
    facts: &Fingerprint,
    ca: Option<ContentAddress>,
    key: &SecretKey,
) -> NarInfo {
    let mut signatures = vec![key.sign(facts)];
    for signature in agreeing_signatures(policy, evidence, decision) {
        if !signatures.contains(&signature) {
            signatures.push(signature);
        }
    }
    NarInfo {
        store_path: facts.path.clone(),
        url: format!("nar/{}.nar", facts.nar_hash.nix32()),
        compression: Compression::None,
        file_hash: Some(facts.nar_hash.into()),
        file_size: Some(facts.nar_size),
        nar_hash: facts.nar_hash,
        nar_size: facts.nar_size,
        references: facts.references.clone(),
        deriver: deriver(policy, evidence, decision, facts),
        signatures,
        malformed_signatures: 0,
        ca,
    }
}

/// The derivation that every agreeing builder names, if its name fits the output's.
fn deriver(
    policy: &Policy,
    evidence: &Evidence,
    decision: &Decision,
    facts: &Fingerprint,
) -> Option<StorePath> {
    let value = facts.digest();
    let agrees = |operator: &str| {
        decision
            .operators
            .iter()
            .any(|one| one.operator == operator && one.state == OperatorState::Votes)
    };
    let statements = evidence
        .outputs
        .get(&decision.asked)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let named = statements.iter().filter_map(|statement| {
        let (Source::Log { origin, .. }, Said::Build(build)) = (&statement.source, &statement.said)
        else {
            return None;
        };
        let builder = policy
            .builders
            .iter()
            .find(|builder| builder.origin() == origin)?;
        let counts =
            !statement.withdrawn && statement.value() == value && agrees(&builder.operator);
        build.derivation.as_ref().filter(|_| counts)
    });
    let named: BTreeSet<&(StorePath, String)> = named.collect();
    let mut named = named.into_iter();
    match (named.next(), named.next()) {
        (Some((derivation, output)), None) if fits(derivation, output, facts.path.name()) => {
            Some(derivation.clone())
        }
        _ => None,
    }
}

/// Nix names an output after its derivation, and appends the name of the output unless that is `out`.
fn fits(derivation: &StorePath, output: &str, name: &str) -> bool {
    let Some(stem) = derivation.name().strip_suffix(".drv") else {
        return false;
    };
    match output {
        "out" => name == stem,
        _ => {
            name.strip_prefix(stem)
                .and_then(|rest| rest.strip_prefix('-'))
                == Some(output)
        }
    }
}

#[cfg(test)]
mod tests {
    use quorix_testkit::entries::a_path;

    use super::*;

    #[test]
    fn a_deriver_fits_the_outputs_that_nix_names_after_it() {
        let drv = a_path("hello-2.12.drv");
        assert!(fits(&drv, "out", "hello-2.12"));
        assert!(fits(&drv, "dev", "hello-2.12-dev"));
        for (output, name) in [
            ("out", "hello-2.12-dev"),
            ("dev", "hello-2.12"),
            ("dev", "hello-2.12dev"),
            ("out", "bye"),
        ] {
            assert!(!fits(&drv, output, name), "{output} {name}");
        }
        assert!(!fits(&a_path("hello-2.12"), "out", "hello-2.12"));
    }
}
