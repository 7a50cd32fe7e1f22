//! `quorix policy try`: what would change under another policy.

use std::sync::Arc;

use quorix_nix::store_path::{HashPart, StorePath};
use quorix_trust::decision::{Decision, decide_many};
use quorix_wire::client::AggregatorClient;
use serde_json::json;

use super::decide::asked;
use super::progress::counted;
use super::{aggregator_address, channel_to, now_s, read_policy};
use crate::cli::policy::Try;
use crate::output::{self, Exit, Failure};

/// Questions in one call.
const AT_ONCE: usize = 1_000;

/// Decides a closure under the aggregator's policy and under another one, and tells the differences.
pub(super) async fn try_on(arguments: Try) -> Result<Exit, Failure> {
    let root = asked(&arguments.closure)?;
    let policy = Arc::new(read_policy(&arguments.file)?);
    let address = aggregator_address(arguments.aggregator.clone(), &arguments.config.config)?;
    let channel = channel_to(&address, &arguments.config.config)?;
    let client = AggregatorClient::new(channel, policy.clone());
    let evidence = client
        .evidence(&[root], true)
        .await
        .map_err(Failure::unknown)?;
    let outputs: Vec<HashPart> = evidence.outputs.keys().cloned().collect();
    let new = decide_many(&policy, &evidence, &outputs, now_s());
    let mut changes = Vec::new();
    let mut accepted = 0_usize;
    for (outputs, new) in outputs.chunks(AT_ONCE).zip(new.chunks(AT_ONCE)) {
        let paths = outputs.iter().map(ToString::to_string).collect();
        let old = client.decide_many(paths).await.map_err(Failure::unknown)?;
        for (old, new) in old.into_iter().zip(new) {
            let old = Decision::try_from(old).map_err(Failure::unknown)?;
            accepted = accepted.saturating_add(usize::from(new.is_accepted()));
            if (old.outcome, old.accepted) != (new.outcome, new.accepted) {
                changes.push((old, new));
            }
        }
    }
    let lost = changes
        .iter()
        .filter(|(old, new)| old.is_accepted() && old.accepted != new.accepted);
    let lost = lost.count();
    if arguments.json {
        let changes = changes.iter().map(|(old, new)| {
            json!({"path": subject(new), "now": old.sentence, "then": new.sentence, "accepted_now": old.is_accepted(), "accepted_then": new.is_accepted()})
        });
        let changes: Vec<_> = changes.collect();
        let value =
            json!({"paths": outputs.len(), "accepted": accepted, "lost": lost, "changes": changes});
        output::answer(format_args!("{value:#}"));
    } else {
        for (old, new) in &changes {
            output::answer(format_args!(
                "{}\n  now:  {}\n  then: {}\n",
                subject(new),
                old.sentence,
                new.sentence
            ));
        }
        let said = match lost {
            0 => "nothing that is accepted now would be lost".to_owned(),
            lost => format!("{lost} that are accepted now would not be, or with other bytes"),
        };
        output::answer(format_args!(
            "{accepted} of {} would be accepted. {} would change; {said}.",
            counted(outputs.len() as u64, "path", "paths"),
            counted(changes.len() as u64, "answer", "answers")
        ));
    }
    Ok(if lost == 0 { Exit::Yes } else { Exit::No })
}

fn subject(decision: &Decision) -> String {
    let path: Option<&StorePath> = decision.path.as_ref();
    path.map_or_else(
        || decision.asked.as_str().to_owned(),
        |path| decision.store_dir.join(path),
    )
}
