//! A decision: the verdict, the rule's line as the policy file has it, and the steps. Used for the decision in
//! force, for one of a rule in `mode=warn`, and for one from which the policy fell back (SEMANTICS §3).

use quorix_wire::pb;

use super::outputs::link;
use super::{Link, Mark};
use crate::format::list;
use crate::format::prose::Prose;
use crate::format::shown::Shown;
use crate::format::time::When;

/// Steps shown of one decision.
const STEPS_MAX: usize = 100;

/// Operators named as missing.
const MISSING_MAX: usize = 20;

/// A decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecisionView {
    /// Shape and colour of the verdict.
    pub mark: Mark,
    /// The first sentence: what.
    pub verdict: Shown,
    /// The rest: why.
    pub because: Shown,
    /// The rule that decided.
    pub rule: RuleView,
    /// The checks, in their order.
    pub steps: Vec<Prose>,
    /// Whose vote would help, as a sentence, or empty.
    pub missing: Shown,
    /// The reference that is not accepted.
    pub blocked_by: Option<Link>,
    /// When time alone changes the decision.
    pub valid_until: Option<When>,
}

/// A line of the policy file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleView {
    /// Name of the rule, or empty.
    pub name: Shown,
    /// Number of the line, from 1; 0 if it is not known.
    pub line: usize,
    /// The line.
    pub text: Shown,
}

impl DecisionView {
    /// A decision, seen at `now_s`.
    #[must_use]
    pub fn new(decision: &pb::Decision, now_s: u64) -> Self {
        let (verdict, because) = split_sentence(&decision.sentence);
        let missing: Vec<Shown> = decision
            .missing
            .iter()
            .take(MISSING_MAX)
            .map(|name| Shown::line(name))
            .collect();
        let no_rule = decision.rule.is_empty() && decision.rule_text.is_empty();
        Self {
            mark: mark(decision.outcome()),
            verdict: Shown::line(if verdict.is_empty() {
                word(decision.outcome())
            } else {
                verdict
            }),
            because: Shown::line(because),
            rule: RuleView {
                name: Shown::line(&decision.rule),
                line: usize::try_from(decision.rule_line).unwrap_or_default(),
                text: Shown::line(if no_rule {
                    "no rule was needed"
                } else {
                    &decision.rule_text
                }),
            },
            steps: decision
                .steps
                .iter()
                .take(STEPS_MAX)
                .map(|step| Prose::new(step))
                .collect(),
            missing: match missing.as_slice() {
                [] => Shown::default(),
                // Here the sentence says it already.
                _ if decision.outcome() == pb::Outcome::Insufficient => Shown::default(),
                names => Shown::line(&format!(
                    "An agreeing vote by {} would help.",
                    list(names, "or")
                )),
            },
            blocked_by: Some(decision.blocked_by.as_str())
                .filter(|path| !path.is_empty())
                .map(link),
            valid_until: When::new(decision.valid_until_s, now_s),
        }
    }
}

/// The first sentence, and the rest.
fn split_sentence(text: &str) -> (&str, &str) {
    match text.split_once(". ") {
        Some((first, rest)) => (text.get(..=first.len()).unwrap_or(first), rest),
        None => (text, ""),
    }
}

/// Shape and colour of an outcome.
#[must_use]
pub fn mark(outcome: pb::Outcome) -> Mark {
    match outcome {
        pb::Outcome::Accepted => Mark::Agree,
        pb::Outcome::Conflict | pb::Outcome::Vetoed | pb::Outcome::Denied => Mark::Disagree,
        pb::Outcome::Insufficient
        | pb::Outcome::Waiting
        | pb::Outcome::BlockedBy
        | pb::Outcome::VetoUnavailable => Mark::OneBuilder,
        pb::Outcome::Unknown | pb::Outcome::Unspecified => Mark::NoData,
    }
}

/// An outcome in words: for the page's title, and where there is no sentence.
#[must_use]
pub fn word(outcome: pb::Outcome) -> &'static str {
    match outcome {
        pb::Outcome::Accepted => "accepted",
        pb::Outcome::Conflict => "refused: builders disagree",
        pb::Outcome::Insufficient => "refused: too few votes",
        pb::Outcome::Unknown => "refused: no data",
        pb::Outcome::Vetoed => "refused: vetoed",
        pb::Outcome::VetoUnavailable => "refused: a veto cannot be heard",
        pb::Outcome::BlockedBy => "refused: blocked by a reference",
        pb::Outcome::Denied => "refused: denied by a rule",
        pb::Outcome::Waiting => "waiting",
        pb::Outcome::Unspecified => "no decision",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sentence_is_the_verdict() {
        let decision = pb::Decision {
            sentence: "Refused: builders disagree. alice and bob each got something different."
                .into(),
            outcome: pb::Outcome::Conflict.into(),
            ..Default::default()
        };
        let view = DecisionView::new(&decision, 1);
        assert_eq!(view.verdict.as_str(), "Refused: builders disagree.");
        assert_eq!(
            view.because.as_str(),
            "alice and bob each got something different."
        );
        assert_eq!(view.mark, Mark::Disagree);
    }

    #[test]
    fn a_decision_without_any_text_still_has_a_verdict() {
        let view = DecisionView::new(&pb::Decision::default(), 1);
        assert_eq!(view.verdict.as_str(), "no decision");
        assert_eq!((view.blocked_by, view.valid_until), (None, None));
    }

    #[test]
    fn who_is_missing_is_one_sentence() {
        let missing = vec!["bob".to_owned(), "example".to_owned()];
        let view = DecisionView::new(
            &pb::Decision {
                missing,
                ..Default::default()
            },
            1,
        );
        assert_eq!(
            view.missing.as_str(),
            "An agreeing vote by bob or example would help."
        );
    }

    #[test]
    fn a_blocking_reference_is_linked() {
        let blocked_by = "/nix/store/71jpi5bf3l22gw0b56r8mfzlrxrrck1i-ghc-9.10.3".to_owned();
        let link = DecisionView::new(
            &pb::Decision {
                blocked_by,
                ..Default::default()
            },
            1,
        )
        .blocked_by
        .unwrap();
        assert_eq!(
            link.href,
            "/output/71jpi5bf3l22gw0b56r8mfzlrxrrck1i-ghc-9.10.3"
        );
    }
}
