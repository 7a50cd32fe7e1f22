//! Decisions that are remembered as long as nothing that they follow from has changed: the same closure is asked for again
//! and again.
//!
//! Only what was decided from the logs alone, whose every change is seen here. What depends on a cache, on the network or
//! on what else was asked is decided anew each time. Forgetting is always safe.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use quorix_nix::store_path::HashPart;
use quorix_trust::decision::Decision;
use quorix_trust::evidence::LogState;

use crate::gather::Snapshot;
use crate::memo::locked;

/// Decisions that are remembered, at a few KiB each.
const DECISIONS_MAX: usize = 8_192;

/// How all logs stand: what decisions follow from besides the policy and the time.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Moment(Vec<(LogState, Option<Vec<u8>>)>);

impl Moment {
    /// Of these logs, in the order of the policy.
    pub(crate) fn of(logs: &[Snapshot]) -> Self {
        let one = |seen: &Snapshot| {
            let checkpoint = seen.signed.as_ref().map(|signed| signed.bytes().to_vec());
            (seen.standing.state.clone(), checkpoint)
        };
        Self(logs.iter().map(one).collect())
    }
}

/// The decisions of one moment, under one policy.
#[derive(Default)]
pub(crate) struct Remembered {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    moment: Option<Arc<Moment>>,
    decisions: HashMap<HashPart, OfOutput>,
}

impl Known {
    fn is_of(&self, moment: &Arc<Moment>) -> bool {
        let known = self.moment.as_ref();
        known.is_some_and(|known| Arc::ptr_eq(known, moment) || known == moment)
    }
}

struct OfOutput {
    decision: Arc<Decision>,
    decided_at_s: u64,
}

impl OfOutput {
    /// Whether the time that passed changes nothing. A clock that was put back may.
    fn holds_at(&self, now_s: u64) -> bool {
        let ends_s = self.decision.valid_until_s.unwrap_or(u64::MAX);
        (self.decided_at_s..ends_s).contains(&now_s)
    }
}

impl Remembered {
    /// The decisions on all of these outputs, in their order, if every one is remembered and holds.
    pub(crate) fn all<'a>(
        &self,
        moment: &Arc<Moment>,
        outputs: impl Iterator<Item = &'a HashPart>,
        now_s: u64,
    ) -> Option<Vec<Arc<Decision>>> {
        let known = locked(&self.known);
        if !known.is_of(moment) {
            return None;
        }
        let one = |output| {
            let known = known.decisions.get(output);
            let known = known.filter(|known| known.holds_at(now_s))?;
            Some(known.decision.clone())
        };
        outputs.map(one).collect()
    }

    /// Remembers what was decided. Where there is no room, or the moment is another, all else is forgotten.
    pub(crate) fn keep(
        &self,
        moment: &Arc<Moment>,
        decisions: &[Arc<Decision>],
        decided_at_s: u64,
    ) {
        let mut known = locked(&self.known);
        let is_full = known.decisions.len().saturating_add(decisions.len()) > DECISIONS_MAX;
        if is_full || !known.is_of(moment) {
            known.decisions.clear();
            known.moment = Some(moment.clone());
        }
        for decision in decisions.iter().take(DECISIONS_MAX) {
            let of_output = OfOutput {
                decision: decision.clone(),
                decided_at_s,
            };
            known.decisions.insert(decision.asked.clone(), of_output);
        }
    }
}

#[cfg(test)]
mod tests {
    use quorix_testkit::entries::log_key;

    use super::*;
    use crate::tests::world::policy;

    fn moment(size: u8) -> Arc<Moment> {
        Arc::new(Moment(vec![(LogState::Live, Some(vec![size]))]))
    }

    fn decided(output: &HashPart, valid_until_s: Option<u64>) -> Vec<Arc<Decision>> {
        let key = log_key("logs.example.org/alice");
        let line = format!(
            "builder alice {} https://a.example operator=alice\n",
            key.verifier()
        );
        let policy = policy(&line, 1, "alice", "path");
        let mut decision =
            quorix_trust::decision::decide(&policy, &Default::default(), output, 100);
        decision.valid_until_s = valid_until_s;
        vec![Arc::new(decision)]
    }

    #[test]
    fn a_decision_is_remembered_until_a_log_or_the_time_changes_it() {
        let output = HashPart::from_bytes(&[7; 20]);
        let remembered = Remembered::default();
        let ask = |moment, now_s| remembered.all(&moment, [&output].into_iter(), now_s);
        assert_eq!(ask(moment(1), 100), None);
        let decisions = decided(&output, Some(200));
        remembered.keep(&moment(1), &decisions, 100);
        assert_eq!(ask(moment(1), 199), Some(decisions));
        assert_eq!(ask(moment(1), 200), None);
        assert_eq!(ask(moment(1), 99), None, "the clock was put back");
        assert_eq!(ask(moment(2), 150), None);
    }

    #[test]
    fn of_many_outputs_all_are_remembered_or_none() {
        let outputs = [1, 2].map(|byte| HashPart::from_bytes(&[byte; 20]));
        let [one, other] = &outputs;
        let remembered = Remembered::default();
        remembered.keep(&moment(1), &decided(one, None), 100);
        assert_eq!(remembered.all(&moment(1), outputs.iter(), 100), None);
        remembered.keep(&moment(1), &decided(other, None), 100);
        let both = remembered.all(&moment(1), outputs.iter(), 100);
        assert_eq!(both.map(|both| both.len()), Some(2));
        remembered.keep(&moment(2), &decided(one, None), 100);
        assert_eq!(remembered.all(&moment(2), outputs.iter(), 100), None);
    }
}
