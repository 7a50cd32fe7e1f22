//! Completes what an aggregator answered: asks each log itself, by its verifiable index, what it says of every output that
//! the answer is about, and adds what was left out.
//!
//! The logs are asked for the whole store paths: of what was asked, of what statements are about, and of what they refer to
//! or were built with. An entry that the index lists and the answer lacks is fetched with its proof of inclusion, a hidden
//! retraction too. Where a log has said more since the answer's checkpoint, or the answer has none, all of the log's
//! entries are proved anew under the log's own newest checkpoint. A log without an index, or whose answer does not verify
//! or does not extend the answer's checkpoint, adds no votes. Nothing is believed of the aggregator; of a log, that it
//! keeps its index as its entries are: `quorix log audit-index` makes it again.
//!
//! A resolver completes every answer. It knows only the hash part of what it is asked, so logs are asked for the names that
//! the answer has: what nobody names has no votes either. What logs showed is remembered for half a minute, and one that
//! does not answer is left alone for a quarter (`memory`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::join_all;
use quorix_nix::store_path::{HashPart, StorePath};
use quorix_trust::decision::reached;
use quorix_trust::evidence::Evidence;
use quorix_trust::policy::{Builder, Policy};
use tokio::time::Instant;

use super::ClientError;
use crate::evidence::{OUTPUTS_MAX, Question, STATEMENTS_MAX, SeenCheckpoints, verify_evidence};
use crate::fetch::Fetcher;
use crate::pb;
use log::{Asked, Round};
use memory::{LogMemory, Memory, Pace};

mod asker;
mod log;
mod memory;
mod patch;

/// How often at most what was added may lead to paths that were not asked about.
const ROUNDS_MAX: usize = 64;

/// Whether an answer is complete, and what was left out of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completeness {
    /// The logs of the policy's builders, by origin.
    pub logs: BTreeMap<String, Shown>,
    /// What the aggregator left out and the logs gave.
    pub left_out: BTreeSet<LeftOut>,
}

/// Whether a log's index shows that nothing of it is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It does.
    Complete {
        /// Entries of the log up to which nothing is missing, at least.
        size: u64,
    },
    /// It does not: the log adds no votes.
    Not {
        /// Why, for people.
        reason: String,
    },
}

/// One entry that an aggregator left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// Name of the log.
    pub origin: String,
    /// Index of the entry.
    pub index: u64,
    /// What it is about.
    pub path: StorePath,
    /// It withdraws another entry.
    pub is_retraction: bool,
}

impl Completeness {
    /// Whether nothing is missing of any builder's log in the policy.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        let mut logs = self.logs.values();
        logs.all(|shown| matches!(shown, Shown::Complete { .. }))
    }
}

/// Asks logs about what an aggregator answered.
#[derive(Debug)]
pub(super) struct Completer {
    fetcher: Fetcher,
    /// The whole path that the user asked about, where only one is asked about.
    asked: Option<StorePath>,
    pace: Pace,
    memory: Memory,
}

impl Completer {
    /// For questions about one path, in a command that waits for them.
    pub(super) fn of_one(fetcher: Fetcher, asked: StorePath) -> Self {
        Self {
            fetcher,
            asked: Some(asked),
            pace: Pace::ONCE,
            memory: Memory::default(),
        }
    }

    /// For questions about whatever clients ask.
    pub(super) fn of_many(fetcher: Fetcher) -> Self {
        Self {
            fetcher,
            asked: None,
            pace: Pace::SERVING,
            memory: Memory::default(),
        }
    }

    /// The same under another policy, which may name other logs, or other addresses of them.
    pub(super) fn anew(&self) -> Self {
        Self {
            fetcher: self.fetcher.clone(),
            asked: self.asked.clone(),
            pace: self.pace,
            memory: self.memory.anew(self.pace),
        }
    }

    /// Whether all questions are about one path.
    pub(super) fn is_of_one(&self) -> bool {
        self.asked.is_some()
    }

    /// Size of the newest checkpoint of each log that the aggregator gave.
    pub(super) fn given_sizes(&self) -> BTreeMap<String, u64> {
        self.memory.given_sizes()
    }

    /// The same answer with what was left out of it, and without what does not verify of the logs that are asked.
    pub(super) async fn complete(
        &self,
        policy: &Arc<Policy>,
        question: &Question,
        answer: pb::GetEvidenceResponse,
        seen: &Arc<SeenCheckpoints>,
    ) -> Result<(pb::GetEvidenceResponse, Completeness), ClientError> {
        let deadline = Instant::now().checked_add(self.pace.total);
        let deadline = deadline.unwrap_or_else(Instant::now);
        let mut left_out = BTreeSet::new();
        let (mut answer, mut logs) = sifted(self.logs(policy), answer).await?;
        let mut done = BTreeSet::new();
        for rounds_left in (0..=ROUNDS_MAX).rev() {
            let (verified, evidence, wanted) = self
                .verified(policy.clone(), question.clone(), answer, seen.clone())
                .await?;
            answer = verified;
            logs.iter_mut().for_each(|log| log.check(&evidence));
            let Wanted { paths, nameless } = wanted;
            // Without a name there are no votes: only who was told the name can say that something is missing.
            if let Some(output) = nameless.filter(|_| self.is_of_one()) {
                let reason =
                    format!("nobody says the whole path of {output}, by which logs are asked");
                fail_all(&mut logs, &reason);
            }
            let new: Vec<StorePath> = paths.difference(&done).cloned().collect();
            if done.len().saturating_add(new.len()) > OUTPUTS_MAX {
                let message = format!(
                    "the answer is about more than {OUTPUTS_MAX} paths: too many to complete"
                );
                return Err(ClientError::ResourceExhausted(message));
            }
            if new.is_empty() {
                break;
            }
            let time_left = deadline.saturating_duration_since(Instant::now());
            if rounds_left == 0 || time_left.is_zero() {
                let reason =
                    "what it says leads to ever more paths: not all of them were asked about";
                fail_all(&mut logs, reason);
                break;
            }
            let round = Round {
                fetcher: &self.fetcher,
                dir: &question.store_dir,
                policy,
                paths: &new,
                // Each may say its part of what an answer holds, and the aggregator that of the rest.
                entries_max: STATEMENTS_MAX / logs.len().saturating_add(1),
                // Who takes its time has others wait, but not for all of theirs.
                patience: time_left / 2,
            };
            round.ask(&mut logs, &mut answer, &mut left_out).await;
            done.extend(new);
        }
        let mut completeness = Completeness {
            left_out,
            ..Completeness::default()
        };
        for log in &logs {
            log.end(&mut answer);
            completeness
                .logs
                .insert(log.origin().to_owned(), log.shown());
        }
        Ok((answer, completeness))
    }

    /// The builders of the policy, each with what is remembered of its log. Also those that no rule names: what they say
    /// keeps fallbacks out of reach, and meets conditions.
    fn logs(&self, policy: &Policy) -> Vec<(Builder, Arc<LogMemory>)> {
        let builders = policy.builders.iter();
        let logs = builders.map(|builder| {
            let memory = self.memory.of(builder.origin(), self.pace);
            (builder.clone(), memory)
        });
        logs.collect()
    }

    /// What verifies of an answer, and the paths that a decision on it can depend on. Many signatures and proofs take a
    /// while.
    async fn verified(
        &self,
        policy: Arc<Policy>,
        question: Question,
        answer: pb::GetEvidenceResponse,
        seen: Arc<SeenCheckpoints>,
    ) -> Result<(pb::GetEvidenceResponse, Evidence, Wanted), ClientError> {
        let asked = self.asked.clone();
        blocking(move || {
            let verified = verify_evidence(&policy, &question, answer.clone(), &seen);
            let evidence = verified
                .map_err(|error| ClientError::InvalidAnswer(error.to_string()))?
                .evidence;
            let wanted = Wanted::by(asked.as_ref(), &policy, &question, &evidence);
            Ok((answer, evidence, wanted))
        })
        .await?
    }
}

/// The answer without what does not verify of these logs. What stays is what is compared with their own words: an entry
/// whose proof was broken on the way is left out as much as one that is not there.
async fn sifted(
    logs: Vec<(Builder, Arc<LogMemory>)>,
    mut answer: pb::GetEvidenceResponse,
) -> Result<(pb::GetEvidenceResponse, Vec<Asked>), ClientError> {
    blocking(move || {
        let mut asked = Vec::new();
        for (builder, memory) in logs {
            asked.push(Asked::of(builder, memory, &mut answer));
        }
        (answer, asked)
    })
    .await
}

fn fail_all(logs: &mut [Asked], reason: &str) {
    for log in logs {
        log.fail(reason);
    }
}

impl Round<'_> {
    /// Asks all logs at once, so that one that is silent has nobody wait but its own votes, and adds what they say.
    async fn ask(
        &self,
        logs: &mut [Asked],
        answer: &mut pb::GetEvidenceResponse,
        left_out: &mut BTreeSet<LeftOut>,
    ) {
        let mut asking = Vec::new();
        for log in logs.iter_mut() {
            asking.push(log.hear(self, answer).boxed());
        }
        let heard = join_all(asking).await;
        for (log, heard) in logs.iter_mut().zip(heard) {
            if let Some(heard) = heard {
                log.add(heard, answer, left_out);
            }
        }
    }
}

/// Runs work that takes its time on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ClientError> {
    let broken = |_| ClientError::Other("verifying the evidence failed".to_owned());
    tokio::task::spawn_blocking(work).await.map_err(broken)
}

struct Wanted {
    paths: BTreeSet<StorePath>,
    /// An output that was asked about and of which only the hash part is known.
    nameless: Option<HashPart>,
}

impl Wanted {
    /// The paths that a decision on this evidence can depend on.
    fn by(
        asked: Option<&StorePath>,
        policy: &Policy,
        question: &Question,
        evidence: &Evidence,
    ) -> Self {
        let mut names: BTreeMap<HashPart, BTreeSet<&StorePath>> = BTreeMap::new();
        let statements = evidence.outputs.values().flatten();
        let mut mentioned: Vec<&StorePath> = asked.into_iter().collect();
        for statement in statements {
            mentioned.push(statement.path());
            mentioned.extend(statement.facts.iter().flat_map(|facts| &facts.references));
            mentioned.extend(statement.inputs.iter().flat_map(BTreeMap::keys));
        }
        for path in mentioned {
            names.entry(path.hash_part()).or_default().insert(path);
        }
        let mut wanted = question.outputs.clone();
        if question.closure {
            let answered: BTreeSet<HashPart> = evidence.outputs.keys().cloned().collect();
            let beyond = reached(policy, evidence, &answered);
            wanted.extend(beyond.iter().map(StorePath::hash_part));
            wanted.extend(answered);
        }
        let named = wanted.iter().filter_map(|output| names.get(output));
        let paths = named.flatten().map(|path| (*path).clone()).collect();
        let mut asked = question.outputs.iter();
        let nameless = asked.find(|output| !names.contains_key(*output)).cloned();
        Self { paths, nameless }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::BoxFuture;
    use quorix_testkit::entries::{a_path, log_key};

    use super::*;
    use crate::fetch::{Answer, FetchError, FetchLimits, Request, Transport};

    /// Takes every request and never answers.
    #[derive(Debug)]
    struct Silent;

    impl Transport for Silent {
        fn send(&self, _: Request) -> BoxFuture<'static, Result<Answer, FetchError>> {
            std::future::pending().boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn logs_that_are_silent_are_waited_for_at_once_and_add_no_votes() {
        let names = ["alice", "bob", "carol"];
        let origins = names.map(|name| format!("logs.example.org/{name}"));
        let lines = names.map(|name| {
            let origin = format!("logs.example.org/{name}");
            let key = log_key(&origin);
            format!(
                "builder {name} {} https://{origin} operator={name}\n",
                key.verifier()
            )
        });
        let rest = "quorum none\nvoters one any alice bob carol\nrule main quorum=one level=path\ndefault main\n";
        let policy = Policy::parse(&(lines.concat() + rest)).unwrap();
        let limits = FetchLimits::default();
        let waited = limits.first_byte_timeout;
        let fetcher = Fetcher::over(Arc::new(Silent), limits);
        let completer = Completer::of_one(fetcher, a_path("hello"));
        let question = Question {
            outputs: [a_path("hello").hash_part()].into(),
            ..Question::default()
        };
        let nothing = pb::GetEvidenceResponse::default();
        let begun = Instant::now();
        let (answer, completeness) = completer
            .complete(&policy.into(), &question, nothing, &Arc::default())
            .await
            .unwrap();
        assert_eq!(begun.elapsed().as_secs(), waited.as_secs());
        for origin in &origins {
            let shown = &completeness.logs[origin];
            assert!(matches!(shown, Shown::Not { .. }), "{shown:?}");
        }
        let states = answer.logs.iter().map(pb::LogEvidence::state);
        assert_eq!(states.collect::<Vec<_>>(), [pb::LogState::Stale; 3]);
    }
}
