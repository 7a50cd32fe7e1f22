//! What a decision may depend on beyond the outputs that are known: what a collector of evidence has to ask for next.
//!
//! Follows only values that could win. What too few say is dissent, and leads nowhere: otherwise one builder that
//! claims a huge list of references would make every closure with that output too large to decide.

use std::collections::BTreeSet;

use quorix_nix::store_path::{HashPart, StorePath};

use super::context::{Context, World};
use super::tally::Terms;
use crate::evidence::Evidence;
use crate::policy::{Mode, Policy};

/// Store paths to which these outputs refer, in values that would satisfy a rule of the policy if everyone who is
/// known to have said them voted for them (`A⁺` of SEMANTICS §3), or in content that was checked, and for which
/// nothing was collected yet.
#[must_use]
pub fn reached(
    policy: &Policy,
    evidence: &Evidence,
    outputs: &BTreeSet<HashPart>,
) -> BTreeSet<StorePath> {
    // How a log stands does not matter here: what is known does. So the time is of no account either.
    let context = Context::new(policy, evidence, 0, World::InForce);
    let asks_for_inputs = policy.asks_for_inputs();
    let rules = policy.all_rules().filter(|rule| rule.mode != Mode::Deny);
    let needs: BTreeSet<_> = rules
        .filter_map(|rule| Some((rule.quorum?, rule.require)))
        .collect();
    let mut references = BTreeSet::new();
    for output in outputs {
        let said = evidence.outputs.get(output).into_iter().flatten();
        let paths: BTreeSet<&StorePath> = said.map(|statement| statement.path()).collect();
        for path in paths {
            let tally = context.tally(path, Terms::default());
            for (value, facts) in &tally.values {
                let knows = |operator: &str| tally.knows(operator, value);
                let can_win = needs.iter().any(|(quorum, require)| {
                    policy.is_satisfied(*quorum, &knows)
                        && require.is_none_or(|require| policy.is_satisfied(require, &knows))
                });
                if let (true, Some(facts)) = (can_win, facts) {
                    references.extend(facts.references.iter().cloned());
                }
                if can_win && asks_for_inputs {
                    let sources = tally.operators.values().flat_map(|one| &one.sources);
                    let agree = sources.filter(|one| one.statement.value() == *value);
                    let lists = agree.filter_map(|one| one.statement.inputs.as_ref());
                    references.extend(lists.flat_map(|list| list.keys().cloned()));
                }
            }
        }
    }
    let checked = evidence.self_verified.iter();
    for (_, facts) in checked.filter(|(path, _)| outputs.contains(&path.hash_part())) {
        references.extend(facts.references.iter().cloned());
    }
    references.retain(|path| {
        !evidence.outputs.contains_key(&path.hash_part())
            && !evidence.self_verified.contains_key(path)
    });
    references
}
