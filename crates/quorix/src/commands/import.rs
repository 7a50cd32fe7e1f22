//! `quorix aggregator import-observations`: signatures of caches in bulk.

mod report;
mod state;

use std::fs::File;
use std::io::{BufRead, BufReader, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use quorix_aggregator::import::{Asking, ImportError, Importer, Progress};
use quorix_nix::store_path::StoreDir;
use quorix_store::{OpenError, RocksIndex};
use quorix_wire::fetch::{FetchLimits, Fetcher};

use self::report::Pass;
use self::state::State;
use super::{configuration, read_policy};
use crate::cli::import::ImportObservations;
use crate::config::Config;
use crate::output::{self, Exit, Failure};
use crate::wiring;

/// The longest that one answer of a cache may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The pass through a dump, beside those of caches, whose names have no colon.
const DUMP: &str = "dump:";

pub(super) async fn import(arguments: ImportObservations) -> Result<Exit, Failure> {
    let config = configuration(&arguments.config.config)?;
    let importer = importer(&arguments, &config)?;
    let is_stdin = arguments.file.as_os_str() == "-";
    if is_stdin && arguments.resume.is_some() {
        return Err(Failure::wrong(
            "--resume needs a file that can be read again, not standard input",
        ));
    }
    if is_stdin && arguments.paths && importer.caches().len() > 1 {
        return Err(Failure::wrong(
            "a list on standard input is read once and asked of one cache: say which with --cache NAME, or use a file",
        ));
    }
    let noted = match &arguments.resume {
        Some(file) => state::read(file, &arguments.file)?,
        None => State::default(),
    };
    let bar = progress(&arguments, importer.caches().len());
    let work = Arc::new(Work {
        noted: Mutex::new(noted),
        bar: bar.clone(),
        arguments,
    });
    let passes = if work.arguments.paths {
        let fetcher = fetcher(&config)?;
        let all =
            (0..importer.caches().len()).map(|cache| by_cache(&work, &importer, cache, &fetcher));
        futures::future::join_all(all).await
    } else {
        let (work, importer) = (work.clone(), importer.clone());
        let pass = tokio::task::spawn_blocking(move || through_dump(&work, &importer));
        vec![pass.await.map_err(Failure::unknown)?]
    };
    bar.finish_and_clear();
    report(
        &passes.into_iter().collect::<Result<Vec<_>, _>>()?,
        work.arguments.json,
    )
}

fn importer(arguments: &ImportObservations, config: &Config) -> Result<Importer, Failure> {
    let file = config.policy.as_deref().ok_or_else(|| {
        Failure::wrong("the configuration names no policy, and so no caches: add `policy`")
    })?;
    let policy = read_policy(file)?;
    let index = RocksIndex::open(&config.role_dir("aggregator")).map_err(|error| match error {
        OpenError::Locked { .. } => Failure::wrong(
            "the aggregator is running, and its database can be written by one process only\n  stop it first",
        ),
        error => Failure::unknown(error),
    })?;
    let only = arguments.cache.as_deref();
    Importer::new(Arc::new(index), &policy, only, StoreDir::default()).ok_or_else(|| {
        Failure::wrong(match only {
            Some(name) => format!("the policy {} has no cache `{name}`", file.display()),
            None => format!("the policy {} has no cache", file.display()),
        })
    })
}

fn fetcher(config: &Config) -> Result<Fetcher, Failure> {
    let tls = wiring::tls::client(&config.tls)?;
    Fetcher::with_tls(FetchLimits::default(), &tls).map_err(Failure::unknown)
}

/// What all passes share.
struct Work {
    arguments: ImportObservations,
    noted: Mutex<State>,
    bar: ProgressBar,
}

impl Work {
    /// Where a pass begins, and the input from there.
    fn begin(&self, name: &str) -> Result<(Progress, Box<dyn BufRead + Send>), Failure> {
        let file = &self.arguments.file;
        if file.as_os_str() == "-" {
            let input = BufReader::new(std::io::stdin());
            return Ok((Progress::default(), Box::new(input)));
        }
        let from = self.noted().pass(name);
        let failed = |error: std::io::Error| Failure::wrong(format!("{}: {error}", file.display()));
        let mut input = File::open(file).map_err(failed)?;
        input.seek(SeekFrom::Start(from.offset)).map_err(failed)?;
        self.bar.inc(from.offset);
        Ok((from, Box::new(BufReader::with_capacity(1 << 20, input))))
    }

    /// Notes that a pass came from one place to the next.
    fn note(&self, name: &str, last: &mut u64, progress: &Progress) -> Result<(), String> {
        self.bar.inc(progress.offset.saturating_sub(*last));
        *last = progress.offset;
        let mut noted = self.noted();
        noted.set(name, *progress);
        match &self.arguments.resume {
            Some(file) => state::write(file, &self.arguments.file, &noted)
                .map_err(|failure| failure.to_string()),
            None => Ok(()),
        }
    }

    fn noted(&self) -> std::sync::MutexGuard<'_, State> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn through_dump(work: &Work, importer: &Importer) -> Result<Pass, Failure> {
    let (from, input) = work.begin(DUMP)?;
    let mut last = from.offset;
    let taken = importer.take_dump(input, from, |progress| work.note(DUMP, &mut last, progress));
    finished(work, DUMP, taken)
}

async fn by_cache(
    work: &Work,
    importer: &Importer,
    cache: usize,
    fetcher: &Fetcher,
) -> Result<Pass, Failure> {
    let name = importer
        .caches()
        .get(cache)
        .map(|cache| cache.name.clone())
        .unwrap_or_default();
    let (from, input) = work.begin(&name)?;
    let mut last = from.offset;
    let asking = Asking {
        at_once: work.arguments.at_once.into(),
        patience: PATIENCE,
    };
    let note = |progress: &Progress| work.note(&name, &mut last, progress);
    let asked = importer.ask_about(cache, input, from, (fetcher, asking), note);
    let asked = asked.await;
    finished(work, &name, asked)
}

/// A pass to its end, or as far as its cache answered.
fn finished(
    work: &Work,
    name: &str,
    result: Result<Progress, ImportError>,
) -> Result<Pass, Failure> {
    let (progress, gave_up) = match result {
        Ok(progress) => (progress, None),
        Err(error @ ImportError::GaveUp { .. }) => {
            (work.noted().pass(name), Some(error.to_string()))
        }
        Err(error @ ImportError::Input(_)) => return Err(Failure::wrong(error)),
        Err(error) => return Err(Failure::unknown(error)),
    };
    Ok(Pass {
        name: name.to_owned(),
        progress,
        gave_up,
    })
}

fn report(passes: &[Pass], json: bool) -> Result<Exit, Failure> {
    if json {
        output::answer(format_args!("{:#}", report::json(passes)));
    } else {
        output::answer(report::text(passes).trim_end());
    }
    Ok(if passes.iter().any(|pass| pass.gave_up.is_some()) {
        Exit::Unknown
    } else if passes.iter().any(|pass| pass.progress.counts.forged > 0) {
        Exit::No
    } else {
        Exit::Yes
    })
}

/// A bar over the bytes of all passes, on standard error; hidden where nobody looks.
fn progress(arguments: &ImportObservations, caches: usize) -> ProgressBar {
    if !output::has_viewer() {
        return ProgressBar::hidden();
    }
    let passes = if arguments.paths { caches as u64 } else { 1 };
    let bytes = length(&arguments.file).saturating_mul(passes);
    let bar = ProgressBar::new(bytes);
    let template = if bytes > 0 {
        "importing {bytes} of {total_bytes}  {wide_bar}  {bytes_per_sec}, {eta} left"
    } else {
        "importing {bytes}, {bytes_per_sec}"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

fn length(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |data| data.len())
}
