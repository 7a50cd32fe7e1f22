//! What a careful reader should know of a sound policy.

use super::{Member, Mode, Policy, Rule};

/// Sentences, each with the line that it is about.
pub(super) fn warnings(policy: &Policy) -> Vec<String> {
    let mut warnings = vec![
        "`quorum none`: no witness checks that a log shows everybody the same; a log could show you another past than others"
            .to_owned(),
    ];
    let in_force = policy.rules.iter().filter(|rule| rule.mode != Mode::Deny);
    for rule in in_force {
        warnings.extend(rule_warnings(policy, rule));
    }
    warnings
}

fn rule_warnings(policy: &Policy, rule: &Rule) -> Vec<String> {
    let Some(quorum) = rule.quorum else {
        return Vec::new();
    };
    let mut warnings = Vec::new();
    let is_dual =
        is_dual(policy, quorum) && rule.require.is_none_or(|require| is_dual(policy, require));
    if is_dual {
        warnings.push(format!(
            "line {}: under rule `{}` two different values could both have enough votes; that is a conflict and accepts neither",
            rule.line, rule.name
        ));
    }
    let operators = policy.operators();
    let alone = operators.iter().find(|one| {
        let votes = |operator: &str| operator == **one;
        policy.is_satisfied(quorum, &votes)
            && rule
                .require
                .is_none_or(|require| policy.is_satisfied(require, &votes))
    });
    if let Some(alone) = alone {
        warnings.push(format!(
            "line {}: under rule `{}` the word of `{alone}` alone is enough",
            rule.line, rule.name
        ));
    }
    warnings
}

/// True if two disjoint sets of voters can both satisfy the group: with n members of which d are themselves so,
/// and k needed, exactly if n + d ≥ 2k.
fn is_dual(policy: &Policy, group: usize) -> bool {
    let Some(voters) = policy.voters.get(group) else {
        return false;
    };
    let dual_members = voters.members.iter().filter(|member| match member {
        Member::Operator(_) => false,
        Member::Voters(inner) => *inner < group && is_dual(policy, *inner),
    });
    voters.members.len().saturating_add(dual_members.count()) >= voters.threshold.saturating_mul(2)
}
