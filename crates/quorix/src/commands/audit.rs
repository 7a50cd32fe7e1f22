//! `quorix audit`: what is installed here, compared with what builders say of it.

mod ask;
mod judge;
mod local;
mod report;

use std::collections::BTreeMap;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use quorix_nix::store_path::{HashPart, StorePath};
use quorix_trust::decision::decide_many;
use quorix_trust::evidence::{Evidence, LogState};
use quorix_trust::policy::{Level, Policy};
use quorix_wire::client::AggregatorClient;

use self::ask::Answer;
use self::judge::Finding;
use self::local::Local;
use super::{configuration, now_s, read_policy};
use crate::cli::audit::{AuditCommand, How};
use crate::output::{self, Exit, Failure};

/// Paths that are asked about at once, unless the aggregator finds that too much.
const AT_ONCE: usize = 4_000;

/// What an audit found.
struct Audit {
    /// How every path stands, the worst first.
    findings: Vec<Finding>,
    /// How the logs stood.
    logs: BTreeMap<String, LogState>,
}

pub(super) async fn audit(command: AuditCommand) -> Result<Exit, Failure> {
    let (asked, how) = match command {
        AuditCommand::System { all: true, how } => (local::Asked::All, how),
        AuditCommand::System { all: false, how } => (local::Asked::InUse, how),
        AuditCommand::Path { paths, how } => (local::Asked::Paths(paths), how),
    };
    let policy = Arc::new(policy(&how)?);
    let bar = progress("reading the store");
    let paths = {
        let (bar, store) = (bar.clone(), how.store.clone());
        blocking(move || local::read(&asked, store.as_deref(), &bar)).await??
    };
    let client = ask::client(&how, &policy).await?;
    let audit = look(&client, &policy, paths, &bar).await;
    bar.finish_and_clear();
    let audit = audit?;
    if how.json {
        output::answer(format_args!("{:#}", report::json(&audit, &how)));
    } else {
        output::answer(report::text(&audit, &how).trim_end());
    }
    let is_fine = |one: &Finding| one.state.is_good() || how.tolerate.contains(&one.state);
    Ok(if audit.findings.iter().all(is_fine) {
        Exit::Yes
    } else {
        Exit::No
    })
}

fn policy(how: &How) -> Result<Policy, Failure> {
    if let Some(file) = &how.policy {
        return read_policy(file);
    }
    let file = &how.config.config;
    let named = configuration(file)?.policy.ok_or_else(|| {
        Failure::wrong(format!(
            "{} names no policy; say under which one: --policy FILE",
            file.display()
        ))
    })?;
    read_policy(&named)
}

/// Asks for evidence of all paths, some at a time, and judges each.
async fn look(
    client: &AggregatorClient,
    policy: &Arc<Policy>,
    paths: BTreeMap<StorePath, Local>,
    bar: &ProgressBar,
) -> Result<Audit, Failure> {
    let closure = policy.rules.iter().any(|rule| rule.level == Level::Closure);
    bar.set_message("asking and verifying");
    bar.set_length(paths.len() as u64);
    bar.set_position(0);
    let mut by_hash: BTreeMap<HashPart, Local> = paths
        .into_iter()
        .map(|(path, local)| (path.hash_part(), local))
        .collect();
    let self_verified: Vec<_> = by_hash
        .values()
        .filter_map(|local| Some((local.path.clone(), local.recomputed.clone().ok()??)))
        .collect();
    let mut left = ask::Left::of(by_hash.keys().cloned().collect(), AT_ONCE);
    let (mut findings, mut logs) = (Vec::new(), BTreeMap::new());
    while let Some((outputs, answer)) = ask::next(client, &mut left, closure).await? {
        bar.inc(outputs.len() as u64);
        let locals: Vec<Local> = outputs
            .iter()
            .filter_map(|output| by_hash.remove(output))
            .collect();
        let mut evidence = match answer {
            Answer::Evidence(evidence) => *evidence,
            Answer::TooMuch(reason) => {
                findings.extend(locals.into_iter().map(|one| judge::undecided(one, &reason)));
                continue;
            }
        };
        evidence.self_verified.extend(self_verified.iter().cloned());
        for (origin, log) in &evidence.logs {
            logs.insert(origin.clone(), log.state.clone());
        }
        let policy = policy.clone();
        let judged = blocking(move || decided(&policy, &evidence, locals)).await?;
        findings.extend(judged);
    }
    findings.sort_by(|a, b| (a.state, &a.local.path).cmp(&(b.state, &b.local.path)));
    Ok(Audit { findings, logs })
}

fn decided(policy: &Policy, evidence: &Evidence, locals: Vec<Local>) -> Vec<Finding> {
    let outputs: Vec<HashPart> = locals.iter().map(|local| local.path.hash_part()).collect();
    let decisions = decide_many(policy, evidence, &outputs, now_s());
    let said = |output| evidence.outputs.get(output).map(Vec::as_slice);
    locals
        .into_iter()
        .zip(decisions)
        .zip(&outputs)
        .map(|((local, decision), output)| {
            judge::judge(local, decision, said(output).unwrap_or_default())
        })
        .collect()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Failure::unknown(format!("the work was cut off: {error}")))
}

/// A bar over paths, on standard error; hidden where nobody looks.
fn progress(doing: &'static str) -> ProgressBar {
    if !output::has_viewer() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    let template = "{msg} {human_pos} of {human_len} paths  {wide_bar}  {per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(doing);
    bar.enable_steady_tick(std::time::Duration::from_millis(250));
    bar
}
