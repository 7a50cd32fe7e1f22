//! One output: the verdict, who built what, why it was decided so, what differs, the proof, and what to do.

use askama::Template;
use quorix_nix::store_path::{StoreDir, StorePath};
use quorix_wire::pb;

use super::decision::{DecisionView, word};
use super::matrix::Matrix;
use super::outputs::parts;
use super::proof::{self, Statement};
use super::values::Facts;
use super::{Action, Frame, Section};
use crate::format::shown::Shown;

/// The page.
#[derive(Debug, Template)]
#[template(path = "output.html")]
pub struct OutputPage {
    /// Around it.
    pub frame: Frame,
    /// The output's name, or its hash part where nothing else is known.
    pub name: Shown,
    /// Its store path.
    pub path: Shown,
    /// The decision in force.
    pub decision: DecisionView,
    /// Who said what.
    pub matrix: Matrix,
    /// Decisions that are not in force, with why they are shown.
    pub others: Vec<OtherDecision>,
    /// What the values say.
    pub facts: Facts,
    /// Where each statement stands.
    pub proof: Vec<Statement>,
    /// Statements that are not shown.
    pub proof_omitted: usize,
    /// The command that adds a vote.
    pub attest: String,
    /// What the reader can do.
    pub actions: Vec<Action>,
}

/// A decision that is not in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherDecision {
    /// Why it is shown.
    pub heading: String,
    /// The decision.
    pub decision: DecisionView,
}

impl OutputPage {
    /// The page of a decision, seen at `now_s`.
    #[must_use]
    pub fn new(decision: &pb::Decision, now_s: u64) -> Self {
        let (hash, name) = parts(&decision.path);
        let name = Shown::line(if name.is_empty() { hash } else { name });
        let (proof, proof_omitted) = proof::statements(&decision.operators, now_s);
        let argument = shell_safe_path(&decision.path, &decision.store_dir);
        let attest = format!(
            "quorix attest {}",
            argument.as_deref().unwrap_or("/nix/store/…")
        );
        let title = format!("{name}: {}", word(decision.outcome()));
        Self {
            frame: Frame {
                query: Shown::line(&decision.path),
                ..Frame::new(&title, Section::Other, now_s)
            },
            name,
            path: Shown::line(&decision.path),
            decision: DecisionView::new(decision, now_s),
            matrix: Matrix::new(decision),
            others: others(decision, now_s),
            facts: Facts::new(&decision.values, &decision.path),
            proof,
            proof_omitted,
            actions: argument
                .map(|path| actions(decision, &path, &attest))
                .unwrap_or_default(),
            attest,
        }
    }
}

fn others(decision: &pb::Decision, now_s: u64) -> Vec<OtherDecision> {
    let warned = decision
        .warned
        .as_deref()
        .map(|other| ("Not in force, only computed (mode=warn): rule", other));
    let fallen = decision
        .fallen_from
        .as_deref()
        .map(|other| ("Tried before, had no answer: rule", other));
    let others = warned.into_iter().chain(fallen);
    others
        .map(|(heading, other)| OtherDecision {
            heading: format!("{heading} {}", Shown::line(&other.rule)),
            decision: DecisionView::new(other, now_s),
        })
        .collect()
}

/// `path` is safe in a shell.
fn actions(decision: &pb::Decision, path: &str, attest: &str) -> Vec<Action> {
    let mut actions = vec![Action::new(
        "Decide it yourself: fetches the evidence and checks every proof.",
        format!("quorix decide {path}"),
    )];
    let sources = decision
        .operators
        .iter()
        .flat_map(|operator| &operator.sources);
    let derivation = sources
        .filter(|source| source.drv_path.ends_with(".drv"))
        .find_map(|source| shell_safe_path(&source.drv_path, &decision.store_dir));
    let several = decision.values.len() > 1;
    match derivation {
        Some(drv) if several => actions.push(Action::new(
            "Build it twice on your machine; different bytes of the second build are kept beside the first as `.check`.",
            format!("nix-store --realise {drv} && nix-store --realise --check --keep-failed {drv}"),
        )),
        Some(drv) => actions.push(Action::new(
            "Build it again on your machine and compare with what is in your store.",
            format!("nix-store --realise --check --keep-failed {drv}"),
        )),
        None if several => actions.push(Action::new(
            "Build it again from your own expression and compare with what is in your store.",
            "nix-build --check --keep-failed",
        )),
        None => {}
    }
    if !decision.missing.is_empty() && !decision.values.is_empty() {
        actions.push(Action::new(
            "On a builder that has built it: add its vote.",
            attest,
        ));
    }
    actions
}

/// A store path, absolute or its base name, as an absolute path that a shell leaves as it is; or `None`.
fn shell_safe_path(path: &str, store_dir: &str) -> Option<String> {
    let (dir, base) = path.rsplit_once('/').unwrap_or((store_dir, path));
    let dir = if dir.is_empty() {
        StoreDir::default()
    } else {
        dir.parse().ok()?
    };
    let base: StorePath = base.parse().ok()?;
    let plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/+-._=".contains(&byte))
    };
    let path = dir.join(&base);
    if plain(&path) {
        return Some(path);
    }
    // A name may have a question mark, which a shell would take for a pattern.
    (plain(dir.as_str()) && plain(&base.as_str().replace('?', ""))).then(|| format!("'{path}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GHC: &str = "/nix/store/71jpi5bf3l22gw0b56r8mfzlrxrrck1i-ghc-9.10.3";

    fn commands(decision: &pb::Decision) -> Vec<String> {
        OutputPage::new(decision, 1)
            .actions
            .into_iter()
            .map(|action| action.command)
            .collect()
    }

    #[test]
    fn a_disagreement_offers_to_build_twice() {
        let drv_path = format!("{GHC}.drv");
        let sources = vec![pb::ClaimSource {
            drv_path: drv_path.clone(),
            ..Default::default()
        }];
        let decision = pb::Decision {
            path: GHC.into(),
            values: vec![pb::DecisionValue::default(); 2],
            operators: vec![pb::OperatorStanding {
                sources,
                ..Default::default()
            }],
            ..Default::default()
        };
        assert_eq!(
            commands(&decision),
            [
                format!("quorix decide {GHC}"),
                format!(
                    "nix-store --realise {drv_path} && nix-store --realise --check --keep-failed {drv_path}"
                )
            ]
        );
    }

    #[test]
    fn a_missing_vote_offers_to_add_it() {
        let decision = pb::Decision {
            path: GHC.into(),
            values: vec![pb::DecisionValue::default()],
            missing: vec!["bob".into()],
            ..Default::default()
        };
        assert_eq!(
            commands(&decision),
            [
                format!("quorix decide {GHC}"),
                format!("quorix attest {GHC}")
            ]
        );
    }

    #[test]
    fn a_command_never_carries_what_a_shell_would_understand() {
        for hostile in ["$(id)", "; id", "`id`", "'; id; '", "\nid", "a b"] {
            let decision = pb::Decision {
                path: format!("{GHC}{hostile}"),
                operators: vec![pb::OperatorStanding {
                    sources: vec![pb::ClaimSource {
                        drv_path: format!("{GHC}{hostile}.drv"),
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                values: vec![pb::DecisionValue::default(); 2],
                ..Default::default()
            };
            assert_eq!(commands(&decision), [""; 0], "{hostile}");
            assert_eq!(
                OutputPage::new(&decision, 1).attest,
                "quorix attest /nix/store/…"
            );
        }
        assert_eq!(
            shell_safe_path(&format!("{GHC}?x"), ""),
            Some(format!("'{GHC}?x'"))
        );
        assert_eq!(
            shell_safe_path("/nix/st$ore/71jpi5bf3l22gw0b56r8mfzlrxrrck1i-ghc", ""),
            None
        );
    }

    #[test]
    fn a_base_name_is_completed_with_the_store_directory_that_was_asked_about() {
        let base = GHC.rsplit('/').next().unwrap();
        assert_eq!(shell_safe_path(base, ""), Some(GHC.to_owned()));
        assert_eq!(
            shell_safe_path(base, "/gnu/store"),
            Some(format!("/gnu/store/{base}"))
        );
    }

    #[test]
    fn decisions_that_are_not_in_force_are_shown_as_such() {
        let other = |rule: &str| {
            Some(Box::new(pb::Decision {
                rule: rule.into(),
                ..Default::default()
            }))
        };
        let decision = pb::Decision {
            warned: other("main"),
            fallen_from: other("strict"),
            ..Default::default()
        };
        let headings: Vec<String> = OutputPage::new(&decision, 1)
            .others
            .into_iter()
            .map(|one| one.heading)
            .collect();
        assert_eq!(
            headings,
            [
                "Not in force, only computed (mode=warn): rule main",
                "Tried before, had no answer: rule strict"
            ]
        );
    }
}
