//! What a careful reader should know of a sound policy.

use std::collections::{BTreeMap, BTreeSet};

use quorix_tlog::tlog_policy::Standing;

use super::{Level, Member, Mode, Policy, Rule};

/// Sentences, each with the line that it is about.
pub(super) fn warnings(policy: &Policy) -> Vec<String> {
    let mut warnings = Vec::new();
    if policy.has_witness_quorum() {
        warnings.extend(own_witnesses(policy));
    } else {
        warnings.push(
            "`quorum none`: no witness checks that a log shows everybody the same; a log could show you another past than others"
                .to_owned(),
        );
    }
    for rule in policy.all_rules() {
        warnings.extend(sets(rule));
        if rule.mode != Mode::Deny {
            warnings.extend(rule_warnings(policy, rule));
        }
    }
    warnings
}

fn rule_warnings(policy: &Policy, rule: &Rule) -> Vec<String> {
    let Some(quorum) = rule.quorum else {
        return Vec::new();
    };
    let mut warnings = Vec::new();
    let mut warn = |text: String| warnings.push(format!("line {}: {text}", rule.line));
    let name = &rule.name;
    let groups: Vec<usize> = std::iter::once(quorum).chain(rule.require).collect();
    if groups.iter().all(|group| is_dual(policy, *group)) {
        warn(format!(
            "under rule `{name}` two different values could both have enough votes; that is a conflict and accepts neither"
        ));
    }
    let operators = policy.operators();
    let satisfied = |votes: &dyn Fn(&str) -> bool| {
        let mut groups = groups.iter();
        groups.all(|group| policy.is_satisfied(*group, &|operator: &str| votes(operator)))
    };
    let mut alone = operators.iter();
    if let Some(alone) = alone.find(|one| satisfied(&|operator| operator == **one)) {
        warn(format!(
            "under rule `{name}` the word of `{alone}` alone is enough"
        ));
    }
    for (key, value, members) in shared_tags(policy, &groups) {
        if satisfied(&|operator| members.contains(operator)) && members.len() > 1 {
            let members: Vec<&str> = members.into_iter().collect();
            warn(format!(
                "under rule `{name}` those with tag {key}:{value} are enough by themselves ({}): one infrastructure, one fault",
                members.join(", ")
            ));
        }
    }
    if rule.level >= Level::Build {
        let with_logs: BTreeSet<&str> = policy
            .builders
            .iter()
            .map(|builder| builder.operator.as_str())
            .collect();
        let named = groups.iter().flat_map(|group| policy.operators_of(*group));
        let without: BTreeSet<&str> = named.filter(|one| !with_logs.contains(one)).collect();
        let caches: Vec<&str> = without.iter().copied().collect();
        if !caches.is_empty() {
            warn(format!(
                "rule `{name}` asks what was built with, which caches never publish: {} cannot vote there",
                caches.join(", ")
            ));
        }
        if !satisfied(&|operator| !without.contains(operator)) {
            warn(format!("rule `{name}` can never be satisfied"));
        }
    }
    if rule.min_observed_s.is_some() && !satisfied(&|one| has_log(policy, one)) {
        warn(format!(
            "rule `{name}` has `min-observed`, and nobody witnesses when a cache signed: it can never be satisfied"
        ));
    }
    warnings
}

fn has_log(policy: &Policy, operator: &str) -> bool {
    let mut builders = policy.builders.iter();
    builders.any(|builder| builder.operator == operator)
}

/// Logs that their own operator's witness would have to vouch for.
fn own_witnesses(policy: &Policy) -> Vec<String> {
    let everybody = policy.witnesses.witnesses.iter();
    let everybody = everybody
        .map(|witness| (witness.name.to_string(), 1))
        .collect();
    let stuck = policy.builders.iter().filter(|builder| {
        let times = policy.times(&everybody, &builder.operator);
        matches!(policy.witnesses.standing(&times), Standing::NotMet { .. })
    });
    let warnings = stuck.map(|builder| {
        format!(
            "line {}: the log of `{}` can never have its witness quorum: a witness does not count for its own operator's log",
            builder.line, builder.name
        )
    });
    warnings.collect()
}

/// Exemptions that nobody looks at again.
fn sets(rule: &Rule) -> Option<String> {
    let set = rule.set.as_ref()?;
    let endless = set.entries.values().filter(|entry| entry.until_s.is_none());
    let endless = endless.count();
    (endless > 0 && rule.mode != Mode::Deny).then(|| {
        format!(
            "line {}: {endless} of {} paths in the set of rule `{}` have no end: an exemption without one is forgotten",
            rule.line,
            set.entries.len(),
            rule.name
        )
    })
}

/// Operators of these groups by a tag that all their builders share.
fn shared_tags<'p>(
    policy: &'p Policy,
    groups: &[usize],
) -> Vec<(&'p str, &'p str, BTreeSet<&'p str>)> {
    let named: BTreeSet<&str> = groups
        .iter()
        .flat_map(|group| policy.operators_of(*group))
        .collect();
    let mut tags: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for builder in &policy.builders {
        for (key, value) in &builder.tags {
            if named.contains(builder.operator.as_str()) {
                let with = tags.entry((key, value)).or_default();
                with.insert(&builder.operator);
            }
        }
    }
    tags.into_iter()
        .map(|((key, value), with)| (key, value, with))
        .collect()
}

/// True if two disjoint sets of voters can both satisfy the group: with n members of which d are themselves so,
/// and k needed, exactly if n + d ≥ 2k. With weights they may: the same sum over weights.
fn is_dual(policy: &Policy, group: usize) -> bool {
    let Some(voters) = policy.voters.get(group) else {
        return false;
    };
    let members = voters.members.iter().zip(&voters.weights);
    let sum = members.fold(0_usize, |sum, (member, weight)| {
        let twice = match member {
            Member::Operator(_) => false,
            Member::Voters(inner) => *inner < group && is_dual(policy, *inner),
        };
        let times = if twice { 2 } else { 1 };
        sum.saturating_add(weight.saturating_mul(times))
    });
    sum >= voters.threshold.saturating_mul(2)
}
