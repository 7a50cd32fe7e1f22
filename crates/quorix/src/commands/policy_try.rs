//! `quorix policy try`: what would change under another policy.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use quorix_nix::store_path::{HashPart, StorePath};
use quorix_trust::decision::{Decision, decide_many};
use quorix_trust::evidence::Evidence;
use quorix_trust::policy::Policy;
use quorix_wire::client::{AggregatorClient, ClientError};
use quorix_wire::pb;
use quorix_wire::pb::find_outputs_request::By;
use serde_json::{Value, json};

use super::decide::local::LocalResolver;
use super::decide::{asked, fetcher, sources};
use super::progress::{self, counted};
use super::{aggregator_address, channel_to, now_s, read_policy};
use crate::cli::policy::Try;
use crate::output::{self, Exit, Failure};

/// Questions in one call.
const AT_ONCE: usize = 1_000;
/// Outputs that are tried together with everything that they refer to.
const TRIED_AT_ONCE: usize = 64;
/// Answers for which content-addressed paths are fetched side by side.
const FETCHED_AT_ONCE: usize = 8;
/// Outputs in one page of all of them.
const PAGE: u32 = 500;

/// Decides under the aggregator's policy and under another one, and tells the differences.
pub(super) async fn try_on(arguments: Try) -> Result<Exit, Failure> {
    let root = arguments.closure.as_deref().map(asked).transpose()?;
    let policy = Arc::new(read_policy(&arguments.file)?);
    let address = aggregator_address(arguments.aggregator.clone(), &arguments.config.config)?;
    let channel = channel_to(&address, &arguments.config.config)?;
    let client = AggregatorClient::new(channel, policy.clone());
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
        None => trial.on_everything().await,
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
    changes: Vec<(Decision, Decision)>,
    /// Outputs of which too much was said to be tried.
    untried: Vec<HashPart>,
}

impl Trial {
    /// An output and everything that it refers to.
    async fn on_closure(&mut self, root: HashPart) -> Result<(), ClientError> {
        let evidence = self.client.evidence(&[root], true).await?;
        let outputs: Vec<HashPart> = evidence.outputs.keys().cloned().collect();
        self.compare(&evidence, &outputs).await
    }

    /// Every output that the aggregator knows, page by page: memory does not grow with their number.
    async fn on_everything(&mut self) -> Result<(), ClientError> {
        let bar = progress::bar("trying");
        let mut page_token = String::new();
        loop {
            let request = pb::FindOutputsRequest {
                by: Some(By::Everything(true)),
                page_size: PAGE,
                page_token,
            };
            let page = self.client.find_outputs(request).await?;
            let hash_part = |summary: &pb::OutputSummary| {
                asked(&summary.store_path).map_err(|_| {
                    ClientError::InvalidAnswer("the aggregator named what is no path".to_owned())
                })
            };
            let outputs: Vec<HashPart> = page
                .outputs
                .iter()
                .map(hash_part)
                .collect::<Result<_, _>>()?;
            for some in outputs.chunks(TRIED_AT_ONCE) {
                self.on_some(some).await?;
            }
            let done = u64::try_from(self.tally.paths).unwrap_or(u64::MAX);
            progress::stands(&bar, done, done);
            if page.next_page_token.is_empty() {
                return Ok(());
            }
            page_token = page.next_page_token;
        }
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
                self.tally.add(old, new);
            }
        }
        Ok(())
    }
}

impl Tally {
    fn add(&mut self, old: Decision, new: &Decision) {
        self.paths = self.paths.saturating_add(1);
        self.accepted = self.accepted.saturating_add(usize::from(new.is_accepted()));
        if (old.outcome, old.accepted) != (new.outcome, new.accepted) {
            self.changes.push((old, new.clone()));
        }
    }

    /// Decides anew, with content-addressed paths fetched and recomputed, what would no longer be accepted: it may need no
    /// votes, or be blocked only by what needs none.
    async fn fetch_lost(&mut self, resolver: &LocalResolver) -> Result<(), Failure> {
        let changes = std::mem::take(&mut self.changes);
        let decided = stream::iter(changes).map(|(old, new)| async move {
            let may_be_fetched = old.is_accepted() && !new.is_accepted();
            let anew = match may_be_fetched {
                true => resolver.decide(&new.asked).await?,
                false => new.clone(),
            };
            Ok::<_, Failure>((old, new, anew))
        });
        let mut decided = decided.buffered(FETCHED_AT_ONCE);
        while let Some((old, new, anew)) = decided.try_next().await? {
            if anew.is_accepted() && !new.is_accepted() {
                self.accepted = self.accepted.saturating_add(1);
            }
            if (old.outcome, old.accepted) != (anew.outcome, anew.accepted) {
                self.changes.push((old, anew));
            }
        }
        Ok(())
    }

    /// Answers that would no longer be accepted, or with other bytes.
    fn lost(&self) -> usize {
        let lost = self.changes.iter();
        lost.filter(|(old, new)| old.is_accepted() && old.accepted != new.accepted)
            .count()
    }

    fn as_json(&self) -> Value {
        let changes = self.changes.iter().map(|(old, new)| {
            json!({"path": subject(new), "now": old.sentence, "then": new.sentence, "accepted_now": old.is_accepted(), "accepted_then": new.is_accepted()})
        });
        let changes: Vec<_> = changes.collect();
        let untried: Vec<_> = self.untried.iter().map(HashPart::as_str).collect();
        json!({"paths": self.paths, "accepted": self.accepted, "lost": self.lost(), "changes": changes, "untried": untried})
    }

    fn tell(&self) {
        for (old, new) in &self.changes {
            output::answer(format_args!(
                "{}\n  now:  {}\n  then: {}\n",
                subject(new),
                old.sentence,
                new.sentence
            ));
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

fn subject(decision: &Decision) -> String {
    let path: Option<&StorePath> = decision.path.as_ref();
    path.map_or_else(
        || decision.asked.as_str().to_owned(),
        |path| decision.store_dir.join(path),
    )
}
