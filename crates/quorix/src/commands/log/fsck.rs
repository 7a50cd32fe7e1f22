//! `quorix log fsck`: is a log what its key signed, down to the last hash.

mod beyond;
mod cosigned;
mod state;

use std::time::{Duration, Instant};

use quorix_tlog::tlog_policy::Verified;
use quorix_wire::scan::{Check, Counts, State, check};
use serde_json::json;

use self::beyond::Beyond;
use super::export::absolute;
use super::which::{self, Opened, Own, Problem};
use crate::cli::operate::{Fsck, WhichLog};
use crate::commands::progress::{self, counted};
use crate::commands::{now_s, witnesses};
use crate::output::{self, Exit, Failure};
use crate::wiring::witness::read_policy;

/// Bundles under way at once.
const AT_ONCE: usize = 8;
/// How often the state is written.
const NOTED_EVERY: Duration = Duration::from_secs(5);
/// How many problems are printed for people.
const SHOWN: usize = 20;

pub(in crate::commands) async fn fsck(arguments: Fsck) -> Result<Exit, Failure> {
    let policy = arguments.policy.as_deref().map(read_policy).transpose()?;
    let opened = open(&arguments)?;
    let origin = opened.origin().to_owned();
    let shown = match opened.checkpoint().await {
        Ok(shown) => shown,
        Err(Problem::Read(error)) if !error.is_of_the_log() => {
            return Err(Problem::Read(error).into());
        }
        Err(problem) => {
            let mut counts = Counts::default();
            counts.note("checkpoint", Failure::from(problem));
            report(&origin, 0, &counts, &Besides::default(), arguments.json);
            return Ok(Exit::No);
        }
    };
    let goal = shown.checkpoint();
    let file = arguments.resume.as_deref();
    let from = match file {
        Some(file) => state::read(file, &origin)?,
        None => State::default(),
    };
    if from.size > 0 && !arguments.json {
        output::remark(format_args!(
            "Going on after entry {}.",
            progress::number(from.size.saturating_sub(1))
        ));
    }
    let bar = progress::bar("checking");
    let mut noted = Instant::now();
    let mut not_noted = None;
    let mut last = from.clone();
    let asked = Check {
        key: opened.key.clone(),
        blobs: !arguments.no_blobs,
        at_once: AT_ONCE,
        from,
    };
    let checked = check(&opened.source, goal, asked, |progress| {
        progress::stands(&bar, progress.size, goal.size);
        last.clone_from(progress.state);
        if let Some(file) = file
            && noted.elapsed() >= NOTED_EVERY
        {
            noted = Instant::now();
            not_noted = state::write(file, &origin, progress.state).err();
        }
    })
    .await;
    bar.finish_and_clear();
    if let Some(file) = file {
        state::write(file, &origin, &last)?;
    }
    if let Some(failure) = not_noted {
        return Err(failure);
    }
    match checked {
        Ok(mut counts) => {
            let mut besides = Besides::default();
            if let Some(own) = &opened.own {
                let beyond = beyond::look(own, &opened.key, goal.size, &mut counts)?;
                besides.beyond = Some(beyond);
            }
            if let Some(policy) = &policy {
                let cosigned = cosigned::look(policy, &opened, &shown, &mut counts)?;
                besides.cosigned = Some(cosigned);
            }
            report(&origin, goal.size, &counts, &besides, arguments.json);
            Ok(if counts.problems == 0 {
                Exit::Yes
            } else {
                Exit::No
            })
        }
        Err(error) => Err(cut_off(Problem::from(error), &last, file.is_some())),
    }
}

fn open(arguments: &Fsck) -> Result<Opened, Failure> {
    let which = WhichLog {
        key: arguments.key.clone(),
        urls: arguments.urls.clone(),
        config: arguments.config.clone(),
    };
    let Some(dir) = &arguments.dir else {
        if which.key.is_some() && which.urls.is_empty() {
            return Err(Failure::wrong(
                "--log VKEY goes with --url URL or a folder: where is that log?",
            ));
        }
        return which::open(&which, Own::Database);
    };
    let key = match &which.key {
        Some(key) => which::parse_key("--log", key)?,
        None => which::own_key(&which.config.config)?,
    };
    let folder = absolute(dir)?.display().to_string();
    which::served(key, vec![folder], &which.config.config)
}

/// What was found before the log could not be read further.
fn cut_off(problem: Problem, last: &State, is_noted: bool) -> Failure {
    let found = match last.counts.named.first() {
        Some(first) => format!(
            "; {} found before, the first: {first}",
            counted(last.counts.problems, "problem", "problems")
        ),
        None => String::new(),
    };
    let hint = if is_noted {
        "run the same command again to go on from there"
    } else {
        "with --resume FILE the next run goes on from there"
    };
    let size = progress::number(last.size);
    match Failure::from(problem) {
        Failure::Unknown(reason) => Failure::unknown(format!(
            "{reason}\n  {size} entries were checked{found}\n  {hint}"
        )),
        other => other,
    }
}

/// What was looked at besides the entries and their tree.
#[derive(Default)]
struct Besides {
    beyond: Option<Beyond>,
    cosigned: Option<Result<Verified, String>>,
}

fn report(origin: &str, size: u64, counts: &Counts, besides: &Besides, json: bool) {
    if json {
        let problems: Vec<_> = counts
            .named
            .iter()
            .map(|problem| json!({"what": problem.what, "reason": problem.reason}))
            .collect();
        let value = json!({
            "origin": origin, "size": size, "sound": counts.problems == 0, "entries": counts.entries,
            "tiles": counts.tiles, "blobs": counts.blobs, "opaque": counts.opaque,
            "retractions": counts.retractions, "rotation": counts.rotation, "problems": counts.problems,
            "named": problems, "beyond": besides.beyond.as_ref().map(Beyond::json),
            "witness_quorum": besides.cosigned.as_ref().map(witnesses::json),
        });
        return output::answer(format_args!("{value:#}"));
    }
    let looked = format!(
        "{}, {} and {}",
        counted(counts.entries, "entry", "entries"),
        counted(counts.tiles, "hash tile", "hash tiles"),
        counted(counts.blobs, "blob", "blobs")
    );
    match counts.named.first() {
        None => output::answer(format_args!(
            "The log {origin} is sound: {looked} are what its checkpoint says."
        )),
        Some(first) => output::answer(format_args!(
            "The log {origin} is damaged: {} with {looked}.\n  first: {first}",
            counted(counts.problems, "thing is wrong", "things are wrong")
        )),
    }
    for problem in counts.named.iter().skip(1).take(SHOWN) {
        output::answer(format_args!("         {problem}"));
    }
    let printed = counts.named.len().min(SHOWN.saturating_add(1)) as u64;
    let further = counts.problems.saturating_sub(printed);
    if further > 0 {
        output::answer(format_args!(
            "         and {} more; --json names up to 100",
            progress::number(further)
        ));
    }
    if counts.opaque > 0 {
        let opaque = counted(counts.opaque, "entry does", "entries do");
        output::answer(format_args!("  {opaque} not parse; they count for nobody"));
    }
    if let Some(rotation) = counts.rotation {
        output::answer(format_args!(
            "  entry {rotation} is a key rotation: the log has ended"
        ));
    }
    let beyond = besides.beyond.as_ref();
    for line in beyond.map(Beyond::lines).unwrap_or_default() {
        output::answer(format_args!("  {line}"));
    }
    if let Some(Ok(cosigned)) = &besides.cosigned {
        let line = witnesses::line(&Ok(cosigned.clone()), now_s());
        output::answer(format_args!("  {line}"));
    }
}
