//! Lists for people: the followed logs, counts, disagreements page by page, and search.
//!
//! Answers come from the index alone: no log and no cache is asked, and no policy is applied.

mod facets;

use std::collections::BTreeMap;
use std::sync::Arc;

use quorix_nix::store_path::HashPart;
use quorix_trust::ports::{IndexedStatement, Lift, Standing, StoreError};
use quorix_wire::convert::log_state;
use quorix_wire::pb;

use crate::error::AskError;
use crate::gather::Snapshot;
use crate::logs::Condition;
use crate::machine::blocking;
use crate::query::parse;
use crate::service::Shared;

/// Entries of a page where none are asked for.
const PAGE_DEFAULT: u32 = 50;
/// The most entries of a page.
const PAGE_MAX: u32 = 500;
/// Disagreements that one call looks at; with a filter that matches few, a page may be short and have a next one.
const SCAN_MAX: usize = 10_000;
/// The longest text that is searched for, in bytes.
const TEXT_MAX: usize = 300;

impl Shared {
    /// The followed logs and how they stand.
    pub(crate) async fn list_logs(self: &Arc<Self>) -> Result<pb::ListLogsResponse, AskError> {
        let shared = self.clone();
        let list = move || {
            let stand = shared.stand()?;
            stand
                .logs
                .iter()
                .map(|seen| status(&shared, seen))
                .collect::<Result<_, _>>()
        };
        Ok(pb::ListLogsResponse {
            logs: blocking("listing the logs", list).await?,
        })
    }

    /// Counts over all outputs.
    pub(crate) async fn overview(self: &Arc<Self>) -> Result<pb::GetOverviewResponse, AskError> {
        let index = self.index.clone();
        let counts = blocking("counting outputs", move || index.counts()).await?;
        Ok(pb::GetOverviewResponse {
            outputs: counts.outputs,
            agree: counts.agree,
            disagree: counts.disagree,
            one_builder: counts.one_builder,
            now_s: (self.clock)(),
        })
    }

    /// Outputs about which builders disagree, by page.
    pub(crate) async fn disagreements(
        self: &Arc<Self>,
        request: pb::ListDisagreementsRequest,
    ) -> Result<pb::ListDisagreementsResponse, AskError> {
        let page = page(request.page_size, "page_size")?;
        short(&request.name, "name")?;
        short(&request.builder, "builder")?;
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(token.parse::<HashPart>().map_err(|_| AskError::Argument {
                argument: "page_token".to_owned(),
                reason: "it is not one that an answer before gave".to_owned(),
            })?),
        };
        let shared = self.clone();
        let (name, builder) = (request.name, request.builder);
        let matches = move |summary: &pb::OutputSummary| {
            let of = summary
                .store_path
                .rsplit('/')
                .next()
                .and_then(|base| base.get(33..))
                .unwrap_or_default();
            let said = || {
                summary
                    .values
                    .iter()
                    .any(|value| value.builders.contains(&builder))
            };
            of.contains(&name) && (builder.is_empty() || said())
        };
        let list = move || scan(&shared, after, page, &matches);
        Ok(blocking("listing disagreements", list).await?)
    }

    /// Outputs whose name starts with a text, or that have a hash part or store path.
    pub(crate) async fn search(
        self: &Arc<Self>,
        request: pb::SearchRequest,
    ) -> Result<pb::SearchResponse, AskError> {
        let limit = page(request.limit, "limit")?;
        short(&request.query, "query")?;
        let query = request.query.trim().to_owned();
        if query.is_empty() {
            let reason =
                "it is empty; give the beginning of a name, a hash part or a store path".to_owned();
            return Err(AskError::Argument {
                argument: "query".to_owned(),
                reason,
            });
        }
        let shared = self.clone();
        let outputs = blocking("searching", move || {
            let hash_parts = match parse(&query, &shared.config.store_dir, String::new) {
                Ok(exact) => vec![exact.hash_part],
                Err(_) => {
                    let paths = shared.index.by_name(&query, limit)?;
                    paths.iter().map(|path| path.hash_part()).collect()
                }
            };
            let summaries = hash_parts
                .iter()
                .map(|output| summary(&shared, output))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(summaries.into_iter().flatten().collect())
        })
        .await?;
        Ok(pb::SearchResponse { outputs })
    }

    /// The policy's line with a builder or cache of this name.
    fn line_of(&self, name: &str) -> Option<usize> {
        let builders = self.policy.builders.iter().map(|one| (&one.name, one.line));
        let caches = self.policy.caches.iter().map(|one| (&one.name, one.line));
        builders
            .chain(caches)
            .find_map(|(other, line)| (other == name).then_some(line))
    }

    /// The name in the policy of whoever says something; a voice that the policy does not name is shown as it is.
    fn name_of(&self, voice: &str) -> String {
        let builder = self
            .policy
            .builders
            .iter()
            .find(|builder| builder.origin() == voice);
        let cache = || {
            self.policy
                .caches
                .iter()
                .find(|cache| cache.key.to_string() == voice)
        };
        let name = builder
            .map(|builder| &builder.name)
            .or_else(|| cache().map(|cache| &cache.name));
        name.map_or_else(|| voice.to_owned(), Clone::clone)
    }
}

fn status(shared: &Shared, seen: &Snapshot) -> Result<pb::LogStatus, StoreError> {
    let indexed = seen.mirror.head()?.map_or(0, |head| head.size);
    let newest = shared.index.newest_checkpoint(&seen.log.origin)?;
    let cosigned = shared.index.cosigned(&seen.log.origin)?;
    let lifts = shared.index.lifts(&seen.log.origin)?;
    Ok(pb::LogStatus {
        name: seen.log.name.clone(),
        origin: seen.log.origin.clone(),
        operator: seen.log.operator.clone(),
        urls: seen.log.urls.clone(),
        state: log_state(&seen.standing.state).0.into(),
        reason: seen.standing.reason().to_owned(),
        size: seen.size(),
        indexed,
        opaque: shared.index.opaque(&seen.log.origin)?,
        last_verified_s: seen.standing.last_verified_s,
        checkpoint: seen
            .signed
            .as_ref()
            .map(|signed| signed.bytes().to_vec())
            .unwrap_or_default(),
        equivocation: seen
            .standing
            .equivocation
            .as_deref()
            .map(pb::Equivocation::from),
        condition: condition(seen.standing.condition).into(),
        shown: newest.map_or(0, |newest| newest.size),
        cosigned: cosigned.map(|cosigned| cosigned.note).unwrap_or_default(),
        lifts: lifts.iter().map(lift).collect(),
    })
}

fn condition(condition: Condition) -> pb::LogCondition {
    match condition {
        Condition::Following => pb::LogCondition::Following,
        Condition::Untried => pb::LogCondition::Untried,
        Condition::CatchingUp => pb::LogCondition::CatchingUp,
        Condition::Overdue => pb::LogCondition::Overdue,
        Condition::Unreachable => pb::LogCondition::Unreachable,
        Condition::Behind => pb::LogCondition::Behind,
        Condition::Withholding => pb::LogCondition::Withholding,
        Condition::Stuck => pb::LogCondition::Stuck,
        Condition::Malformed => pb::LogCondition::Malformed,
        Condition::Quarantined => pb::LogCondition::Quarantined,
    }
}

fn lift(lift: &Lift) -> pb::QuarantineLift {
    pb::QuarantineLift {
        at_s: lift.at_s,
        reason: lift.reason.clone(),
        proof: Some(pb::Equivocation::from(&lift.proof)),
    }
}

/// Looks through disagreements until the page is full, the last was seen, or enough were looked at.
fn scan(
    shared: &Shared,
    mut after: Option<HashPart>,
    page: usize,
    matches: &impl Fn(&pb::OutputSummary) -> bool,
) -> Result<pb::ListDisagreementsResponse, StoreError> {
    let mut outputs = Vec::new();
    let mut scanned = 0_usize;
    loop {
        let some = shared.index.disagreements(after.as_ref(), page)?;
        if some.is_empty() {
            return Ok(pb::ListDisagreementsResponse {
                outputs,
                next_page_token: String::new(),
            });
        }
        for output in some {
            scanned = scanned.saturating_add(1);
            outputs.extend(summary(shared, &output)?.filter(matches));
            after = Some(output);
            if outputs.len() >= page {
                break;
            }
        }
        if outputs.len() >= page || scanned >= SCAN_MAX {
            // The next page may turn out to be empty; that costs less than looking ahead each time.
            let more = !shared.index.disagreements(after.as_ref(), 1)?.is_empty();
            let next_page_token = after
                .filter(|_| more)
                .map(|after| after.to_string())
                .unwrap_or_default();
            return Ok(pb::ListDisagreementsResponse {
                outputs,
                next_page_token,
            });
        }
    }
}

/// One output in short; `None` if nothing was ever said of it.
fn summary(shared: &Shared, output: &HashPart) -> Result<Option<pb::OutputSummary>, StoreError> {
    let statements = shared.index.statements(output)?;
    let Some(first) = statements.first() else {
        return Ok(None);
    };
    let mut values: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for IndexedStatement { value, voice, .. } in
        statements.iter().filter(|said| said.withdrawn_by.is_none())
    {
        let (builders, name) = (values.entry(*value).or_default(), shared.name_of(voice));
        if !builders.contains(&name) {
            builders.push(name);
        }
    }
    let mut values: Vec<_> = values.into_iter().collect();
    // Most builders first, then in the order of the policy, as decisions give letters to values.
    values.sort_by_key(|(value, builders)| {
        let first = builders
            .iter()
            .filter_map(|name| shared.line_of(name))
            .min();
        (
            usize::MAX - builders.len(),
            first.unwrap_or(usize::MAX),
            *value,
        )
    });
    let value =
        |(value, builders): (quorix_nix::fingerprint::FingerprintDigest, _)| pb::ValueSummary {
            fingerprint: value.as_bytes().to_vec(),
            builders,
        };
    Ok(Some(pb::OutputSummary {
        store_path: shared.config.store_dir.join(&first.path),
        standing: pb::Standing::from(Standing::of(&statements)).into(),
        values: values.into_iter().map(value).collect(),
    }))
}

fn page(asked: u32, argument: &str) -> Result<usize, AskError> {
    let size = if asked == 0 { PAGE_DEFAULT } else { asked };
    match usize::try_from(size) {
        Ok(size) if asked <= PAGE_MAX => Ok(size),
        _ => Err(AskError::Argument {
            argument: argument.to_owned(),
            reason: format!("{asked} were asked for, at most {PAGE_MAX} are allowed"),
        }),
    }
}

fn short(text: &str, argument: &str) -> Result<(), AskError> {
    if text.len() <= TEXT_MAX {
        return Ok(());
    }
    let reason = format!(
        "it has {} bytes, at most {TEXT_MAX} are allowed",
        text.len()
    );
    Err(AskError::Argument {
        argument: argument.to_owned(),
        reason,
    })
}
