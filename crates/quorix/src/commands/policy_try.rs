//! `quorix policy try`: what would change under another policy.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use quorix_nix::fingerprint::FingerprintDigest;
use quorix_nix::store_path::{HashPart, StorePath};
use quorix_trust::decision::{Decision, Outcome, decide_many};
use quorix_trust::evidence::Evidence;
use quorix_trust::policy::Policy;
use quorix_wire::client::{AggregatorClient, ClientError};
use quorix_wire::pb;
use quorix_wire::pb::find_outputs_request::By;
use serde_json::{Value, json};
use tonic::transport::Channel;

use super::aggregator::find::Pages;
use super::decide::local::LocalResolver;
use super::decide::{asked, sources};
use super::progress::{self, counted};
use super::{aggregator_address, channel_to, fetcher, now_s, read_policy};
use crate::cli::policy::Try;
use crate::output::{self, Exit, Failure};

/// Questions in one call.
const AT_ONCE: usize = 1_000;
/// Outputs that are tried together with everything that they refer to.
const TRIED_AT_ONCE: usize = 64;
/// Answers for which content-addressed paths are fetched side by side.
const FETCHED_AT_ONCE: usize = 8;

/// Decides under the aggregator's policy and under another one, and tells the differences.
pub(super) async fn try_on(arguments: Try) -> Result<Exit, Failure> {
    let root = arguments.closure.as_deref().map(asked).transpose()?;
    let policy = Arc::new(read_policy(&arguments.file)?);
    let address = aggregator_address(arguments.aggregator.clone(), &arguments.config.config)?;
    let channel = channel_to(&address, &arguments.config.config)?;
    let client = AggregatorClient::new(channel.clone(), policy.clone());
    let config = &arguments.config.config;
    let sources = sources(&arguments.sources, config);
    let resolver = LocalResolver::new(client.clone(), &sources, fetcher(config)?, None)?;
    let mut trial = Trial {
        client,
        policy,
        tally: Tally::default(),
    };
    match root {
        Some(root) => trial.on_closure(root).await,
        None => trial.on_everything(channel).await,
    }
    .map_err(Failure::unknown)?;
    let mut tally = trial.tally;
    if !sources.is_empty() {
        tally.fetch_lost(&resolver).await?;
    }
    if arguments.json {
        output::answer(format_args!("{:#}", tally.as_json()));
    } else {
        tally.tell();
    }
    Ok(if tally.lost() == 0 && tally.untried.is_empty() {
        Exit::Yes
    } else {
        Exit::No
    })
}

/// A policy that is being tried.
struct Trial {
    client: AggregatorClient,
    policy: Arc<Policy>,
    tally: Tally,
}

/// What came of it.
#[derive(Default)]
struct Tally {
    paths: usize,
    accepted: usize,
    changes: Vec<Change>,
    /// Outputs of which too much was said to be tried.
    untried: Vec<HashPart>,
}

/// One answer that would change.
struct Change {
    output: HashPart,
    path: String,
    now: String,
    then: String,
    was: (Outcome, Option<FingerprintDigest>),
    becomes: (Outcome, Option<FingerprintDigest>),
}

impl Change {
    /// `None` where nothing changes.
    fn between(old: &Decision, new: &Decision) -> Option<Self> {
        let (was, becomes) = ((old.outcome, old.accepted), (new.outcome, new.accepted));
        (was != becomes).then(|| Self {
            output: new.asked.clone(),
            path: subject(new),
            now: old.sentence.clone(),
            then: new.sentence.clone(),
            was,
            becomes,
        })
    }

    fn is_accepted_now(&self) -> bool {
        self.was.0 == Outcome::Accepted
    }

    fn is_accepted_then(&self) -> bool {
        self.becomes.0 == Outcome::Accepted
    }

    /// Whether it would no longer be accepted, or with other bytes.
    fn is_lost(&self) -> bool {
        self.is_accepted_now() && self.was.1 != self.becomes.1
    }
}

impl Trial {
    /// An output and everything that it refers to.
    async fn on_closure(&mut self, root: HashPart) -> Result<(), ClientError> {
        let evidence = self.client.evidence(&[root], true).await?;
        let outputs: Vec<HashPart> = evidence.outputs.keys().cloned().collect();
        self.compare(&evidence, &outputs).await
    }

    /// Every output that the aggregator knows, page by page. Only what changes is kept, in words.
    async fn on_everything(&mut self, channel: Channel) -> Result<(), ClientError> {
        let bar = progress::bar("trying");
        let mut pages = Pages::new(channel, By::Everything(true));
        while let Some(page) = pages.next(usize::MAX).await? {
            let outputs = page.iter().map(hash_part).collect::<Result<Vec<_>, _>>()?;
            for some in outputs.chunks(TRIED_AT_ONCE) {
                self.on_some(some).await?;
            }
            let done = u64::try_from(self.tally.paths).unwrap_or(u64::MAX);
            progress::stands(&bar, done, done);
        }
        Ok(())
    }

    /// These outputs, in halves where too much was said of all of them.
    async fn on_some(&mut self, outputs: &[HashPart]) -> Result<(), ClientError> {
        let mut left = vec![outputs];
        while let Some(outputs) = left.pop() {
            match (self.client.evidence(outputs, true).await, outputs) {
                (Ok(evidence), _) => self.compare(&evidence, outputs).await?,
                (Err(ClientError::ResourceExhausted(_)), [one]) => {
                    self.tally.paths = self.tally.paths.saturating_add(1);
                    self.tally.untried.push(one.clone());
                }
                (Err(ClientError::ResourceExhausted(_)), _) => {
                    let (first, second) = outputs.split_at(outputs.len() / 2);
                    left.extend([second, first]);
                }
                (Err(error), _) => return Err(error),
            }
        }
        Ok(())
    }

    async fn compare(&mut self, from: &Evidence, outputs: &[HashPart]) -> Result<(), ClientError> {
        let new = decide_many(&self.policy, from, outputs, now_s());
        for (outputs, new) in outputs.chunks(AT_ONCE).zip(new.chunks(AT_ONCE)) {
            let paths = outputs.iter().map(ToString::to_string).collect();
            let old = self.client.decide_many(paths).await?;
            for (old, new) in old.into_iter().zip(new) {
                let old = Decision::try_from(old)
                    .map_err(|error| ClientError::InvalidAnswer(error.to_string()))?;
                self.tally.add(&old, new);
            }
        }
        Ok(())
    }
}

impl Tally {
    fn add(&mut self, old: &Decision, new: &Decision) {
        self.paths = self.paths.saturating_add(1);
        self.accepted = self.accepted.saturating_add(usize::from(new.is_accepted()));
        self.changes.extend(Change::between(old, new));
    }

    /// Decides anew, with content-addressed paths fetched and recomputed, what would no longer be accepted: it may need no
    /// votes, or be blocked only by what needs none.
    async fn fetch_lost(&mut self, resolver: &LocalResolver) -> Result<(), Failure> {
        let changes = std::mem::take(&mut self.changes);
        let decided = stream::iter(changes).map(|change| async move {
            let may_be_fetched = change.is_accepted_now() && !change.is_accepted_then();
            let anew = match may_be_fetched {
                true => Some(resolver.decide(&change.output).await?),
                false => None,
            };
            Ok::<_, Failure>((change, anew))
        });
        let mut decided = decided.buffered(FETCHED_AT_ONCE);
        while let Some((mut change, anew)) = decided.try_next().await? {
            if let Some(anew) = anew {
                self.accepted = self
                    .accepted
                    .saturating_add(usize::from(anew.is_accepted()));
                change.becomes = (anew.outcome, anew.accepted);
                change.then = anew.sentence;
            }
            if change.was != change.becomes {
                self.changes.push(change);
            }
        }
        Ok(())
    }

    /// Answers that would no longer be accepted, or with other bytes.
    fn lost(&self) -> usize {
        let lost = self.changes.iter().filter(|change| change.is_lost());
        lost.count()
    }

    fn as_json(&self) -> Value {
        let changes = self.changes.iter().map(|change| {
            json!({"path": change.path, "now": change.now, "then": change.then, "accepted_now": change.is_accepted_now(), "accepted_then": change.is_accepted_then()})
        });
        let changes: Vec<_> = changes.collect();
        let untried: Vec<_> = self.untried.iter().map(HashPart::as_str).collect();
        json!({"paths": self.paths, "accepted": self.accepted, "lost": self.lost(), "changes": changes, "untried": untried})
    }

    fn tell(&self) {
        for Change {
            path, now, then, ..
        } in &self.changes
        {
            output::answer(format_args!("{path}\n  now:  {now}\n  then: {then}\n"));
        }
        for output in &self.untried {
            output::answer(format_args!(
                "{output}\n  not tried: too much was said of what it refers to\n"
            ));
        }
        let said = match self.lost() {
            0 => "nothing that is accepted now would be lost".to_owned(),
            lost => format!("{lost} that are accepted now would not be, or with other bytes"),
        };
        output::answer(format_args!(
            "{} of {} would be accepted. {} would change; {said}.",
            progress::number(self.accepted as u64),
            counted(self.paths as u64, "path", "paths"),
            counted(self.changes.len() as u64, "answer", "answers")
        ));
    }
}

/// The hash part of what an aggregator found, in whatever store directory.
fn hash_part(found: &pb::OutputSummary) -> Result<HashPart, ClientError> {
    let base = found.store_path.rsplit('/').next().unwrap_or_default();
    let path: Result<StorePath, _> = base.parse();
    let path = path.map_err(|error| ClientError::InvalidAnswer(error.to_string()))?;
    Ok(path.hash_part())
}

fn subject(decision: &Decision) -> String {
    let path: Option<&StorePath> = decision.path.as_ref();
    path.map_or_else(
        || decision.asked.as_str().to_owned(),
        |path| decision.store_dir.join(path),
    )
}
