//! One aggregator in a process of its own, the folders that it follows as logs, and what it decides of them.

use std::fs;

use quorix::demo::world::UserHost;
use quorix_nix::store_path::StorePath;
use quorix_testkit::entries::{a_path, a_small_entry, an_attestation};
use quorix_trust::decision::{Decision, OperatorState, OperatorView, Outcome};
use quorix_wire::pb::LogState;
use tempfile::TempDir;

use crate::following::{FolderLog, becomes, client_of, machine};

/// What one log says.
pub(super) type Says<'a> = (&'a str, Vec<Vec<u8>>);

/// An aggregator and the logs that it follows.
pub(super) struct Scene {
    pub(super) dir: TempDir,
    pub(super) logs: Vec<FolderLog>,
    pub(super) host: UserHost,
}

impl Scene {
    /// Logs that say this, each of an operator of its own, and an aggregator that has read all of it under these rules.
    pub(super) async fn of(says: &[Says<'_>], rules: &str) -> Self {
        let scene = Self::not_followed_yet(says, &format!("quorum none\n{rules}"));
        scene.started(says).await
    }

    /// The same without witnesses being mentioned, and with nothing running.
    pub(super) fn not_followed_yet(says: &[Says<'_>], rules: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let publish =
            |(name, entries): &Says<'_>| FolderLog::publish(dir.path().join(name), name, entries);
        let logs: Vec<FolderLog> = says.iter().map(publish).collect();
        let lines: String = logs.iter().map(FolderLog::line).collect();
        let host = machine(dir.path(), "user", &format!("{lines}{rules}"), "", "");
        Self { dir, logs, host }
    }

    /// Starts the aggregator and waits until it has read all logs.
    pub(super) async fn started(mut self, says: &[Says<'_>]) -> Self {
        self.host.start().await.unwrap();
        for (name, entries) in says {
            let size = u64::try_from(entries.len()).unwrap();
            becomes(&self.host, name, |log| {
                log.indexed == size && log.state() == LogState::Live
            })
            .await;
        }
        self
    }

    pub(super) fn log(&mut self, name: &str) -> &mut FolderLog {
        let mut logs = self.logs.iter_mut();
        logs.find(|log| log.name == name).unwrap()
    }

    /// Cuts the wire to a log, and waits until it is stale.
    pub(super) async fn cut(&self, name: &str) {
        fs::remove_file(self.dir.path().join(name).join("checkpoint")).unwrap();
        becomes(&self.host, name, |log| log.state() == LogState::Stale).await;
    }

    /// What is decided of the output of this name.
    pub(super) async fn decide(&self, name: &str) -> Decision {
        self.decide_path(&a_path(name)).await
    }

    pub(super) async fn decide_path(&self, path: &StorePath) -> Decision {
        client_of(&self.host).decide(path).await.unwrap()
    }

    /// Asserts an outcome and the rule that it is of, and gives the decision.
    pub(super) async fn assert(&self, name: &str, outcome: Outcome, rule: &str) -> Decision {
        let decision = self.decide(name).await;
        assert_eq!(
            (decision.outcome, decision.rule.name.as_str()),
            (outcome, rule),
            "{name}: {decision:#?}"
        );
        assert_eq!(decision.accepted.is_some(), outcome == Outcome::Accepted);
        decision
    }
}

/// How an operator stands in a decision.
pub(super) fn operator<'a>(decision: &'a Decision, name: &str) -> &'a OperatorView {
    let mut operators = decision.operators.iter();
    operators.find(|one| one.operator == name).unwrap()
}

/// The states of all operators, in the order of the policy.
pub(super) fn states(decision: &Decision) -> Vec<OperatorState> {
    decision.operators.iter().map(|one| one.state).collect()
}

/// A rule for the output of this name alone.
pub(super) fn rule(output: &str, says: &str) -> String {
    format!("rule {output} path=/nix/store/{} {says}\n", a_path(output))
}

/// The attestation of the output of this name with this value.
pub(super) fn says(name: &str, value: &str) -> Vec<u8> {
    an_attestation().of(name).saying(value).bytes()
}

/// A history of so many entries, of which the first gives `hello` this value.
pub(super) fn history(value: &str, size: u64) -> Vec<Vec<u8>> {
    std::iter::once(says("hello", value))
        .chain((1..size).map(a_small_entry))
        .collect()
}
