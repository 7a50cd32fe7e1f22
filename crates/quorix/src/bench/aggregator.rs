//! An aggregator that follows logs of many claims: catching up, deciding, starting again, and what it all takes; then the
//! import of a cache's signatures.
//!
//! The logs are folders, each with the same outputs of which one in a hundred differs in the last log. The aggregator is
//! the one that `serve` runs, over its real database; decisions are asked for over gRPC in memory, on the same cores.

mod import;
mod logs;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use quorix_aggregator::config::AggregatorConfig;
use quorix_aggregator::service::Aggregator;
use quorix_store::{OpenError, RocksIndex};
use quorix_trust::policy::Policy;
use quorix_wire::client::AggregatorClient;
use quorix_wire::fetch::{FetchLimits, Fetcher};
use quorix_wire::pb;
use quorix_wire::pb::aggregator_service_client::AggregatorServiceClient;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Server};

use super::figure::{Report, Target, float, quantile};
use crate::commands::now_s;
use crate::output::{Exit, Failure, remark};
use logs::{CLOSURE, Made};

/// Decisions that are asked for one after another.
const SINGLE: usize = 2_000;
/// Decisions that are asked for side by side.
const SIDE_BY_SIDE: usize = 20_000;
/// How many of these are under way.
const AT_ONCE: usize = 64;
/// Longest that catching up may take.
const PATIENCE: Duration = Duration::from_secs(3_600);
/// Longest that an aggregator which was stopped may take to close its database.
const LETTING_GO: Duration = Duration::from_secs(10);
const MIB: f64 = 1_048_576.0;
/// 10⁹ bytes.
const GIGABYTE_MIB: f64 = 953.674;

/// What is to be measured.
pub struct AggregatorBench {
    /// A text with a hash part and a name in each line, separated by tabs; made-up outputs where it is not said.
    pub paths: Option<PathBuf>,
    /// Outputs of each log.
    pub outputs: u64,
    /// Logs.
    pub logs: u64,
    /// Where logs and database are put; a temporary folder that is removed again where it is not said.
    pub dir: Option<PathBuf>,
    /// One JSON object instead of lines.
    pub json: bool,
    /// Only figures whose name begins with one of these.
    pub only: Vec<String>,
}

/// Measures an aggregator.
///
/// # Errors
/// The folder or the list of paths cannot be used, or the aggregator fails.
pub async fn aggregator(bench: AggregatorBench) -> Result<Exit, Failure> {
    let scratch = tempfile::TempDir::with_prefix("quorix-bench-")
        .map_err(|error| Failure::unknown(format!("no temporary folder: {error}")))?;
    let dir = bench.dir.clone().unwrap_or_else(|| scratch.path().into());
    for left in ["logs", "aggregator", "imported"].map(|name| dir.join(name)) {
        if left.exists() {
            // What is known already would be measured as if it were taken in.
            let left = left.display();
            return Err(Failure::wrong(format!(
                "{left} is left over from an earlier run: remove it, or give another folder"
            )));
        }
    }
    let mut report = Report::new(bench.json, bench.only.clone());
    remark("making the logs");
    let made = logs::make(&bench, &dir.join("logs"))?;
    let policy = Arc::new(Policy::parse(&made.policy).map_err(Failure::unknown)?);
    let database = dir.join("aggregator");

    remark("catching up");
    let peak = Peak::start();
    let (running, seconds) = start(&database, &policy).await?;
    let claims = float(made.outputs.saturating_mul(bench.logs));
    check_all_live(&running).await?;
    let rate = Target::AtLeast(100_000.0);
    report.add("aggregator.catch_up", claims / seconds, "entries/s", rate);
    let mib = peak.mib();
    report.add(
        "aggregator.catch_up_rss",
        mib,
        "MiB",
        Target::AtMost(GIGABYTE_MIB),
    );
    running.shutdown().await;
    drop(running);
    // The database lets go of its lock and writes out what it holds in memory.
    let index = open(&database).await?;
    index.settle().map_err(Failure::unknown)?;
    let bytes = float(index.index_bytes().map_err(Failure::unknown)?);
    report.add(
        "aggregator.index_size",
        bytes / claims,
        "bytes/claim",
        Target::AtMost(200.0),
    );
    drop(index);

    let (following, busy) = (Peak::start(), Peak::start());
    let (running, seconds) = start(&database, &policy).await?;
    report.add("aggregator.start", seconds, "s", Target::AtMost(1.0));
    let channel = serve(&running);
    single(&channel, &made, &mut report).await?;
    let mib = following.mib();
    report.add("aggregator.rss", mib, "MiB", Target::AtMost(150.0));
    side_by_side(&channel, &made, &mut report).await?;
    closure(&channel, &policy, &made, &mut report).await?;
    report.add("aggregator.rss_busy", busy.mib(), "MiB", Target::None);
    running.shutdown().await;
    drop(running);
    remark("importing signatures of a cache");
    import::import(&dir, &mut report)?;
    Ok(report.finish())
}

/// Starts an aggregator, and says after how many seconds it had looked at every log.
async fn start(database: &Path, policy: &Arc<Policy>) -> Result<(Aggregator, f64), Failure> {
    let begun = Instant::now();
    let index = open(database).await?;
    let aggregator = Aggregator::start(
        Arc::new(index),
        policy.clone(),
        AggregatorConfig::default(),
        Fetcher::new(FetchLimits::default()).map_err(Failure::unknown)?,
        None,
        Arc::new(now_s),
        &mut Registry::default(),
    )
    .map_err(Failure::unknown)?;
    aggregator.looked_at_all(PATIENCE).await;
    Ok((aggregator, begun.elapsed().as_secs_f64()))
}

/// Opens the database. A thread that still reads for an aggregator that was stopped has it open for a moment.
async fn open(database: &Path) -> Result<RocksIndex, Failure> {
    let begun = Instant::now();
    loop {
        match RocksIndex::open(database) {
            Ok(index) => return Ok(index),
            Err(OpenError::Locked { .. }) if begun.elapsed() < LETTING_GO => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => return Err(Failure::unknown(error)),
        }
    }
}

fn serve(aggregator: &Aggregator) -> Channel {
    let (channel, incoming) = quorix_wire::channel::in_memory();
    let service = quorix_aggregator::grpc::server(aggregator.clone());
    tokio::spawn(
        Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming),
    );
    channel
}

async fn check_all_live(aggregator: &Aggregator) -> Result<(), Failure> {
    let logs = AggregatorServiceClient::new(serve(aggregator))
        .list_logs(pb::ListLogsRequest {})
        .await
        .map_err(Failure::unknown)?
        .into_inner()
        .logs;
    match logs.iter().find(|log| log.state() != pb::LogState::Live) {
        Some(log) => Err(Failure::unknown(format!("{}: {}", log.name, log.reason))),
        None => Ok(()),
    }
}

fn request(path: String) -> pb::DecideRequest {
    pb::DecideRequest { path }
}

async fn single(channel: &Channel, made: &Made, report: &mut Report) -> Result<(), Failure> {
    let mut client = AggregatorServiceClient::new(channel.clone());
    let mut samples = Vec::new();
    for number in 0..SINGLE {
        let path = made.path(CLOSURE.saturating_add(number.saturating_mul(7_919)));
        let begun = Instant::now();
        client
            .decide(request(path))
            .await
            .map_err(Failure::unknown)?;
        samples.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let p50 = quantile(&mut samples, 0.5);
    report.add("aggregator.decide_p50", p50, "ms", Target::None);
    let p99 = quantile(&mut samples, 0.99);
    report.add("aggregator.decide_p99", p99, "ms", Target::AtMost(1.0));
    Ok(())
}

async fn side_by_side(channel: &Channel, made: &Made, report: &mut Report) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut asking = JoinSet::new();
    for lane in 0..AT_ONCE {
        let mut client = AggregatorServiceClient::new(channel.clone());
        let paths: Vec<String> = (lane..SIDE_BY_SIDE)
            .step_by(AT_ONCE)
            .map(|number| made.path(CLOSURE.saturating_add(number.saturating_mul(104_729))))
            .collect();
        asking.spawn(async move {
            for path in paths {
                client.decide(request(path)).await?;
            }
            Ok::<_, tonic::Status>(())
        });
    }
    while let Some(asked) = asking.join_next().await {
        asked.map_err(Failure::unknown)?.map_err(Failure::unknown)?;
    }
    let rate = SIDE_BY_SIDE as f64 / begun.elapsed().as_secs_f64();
    report.add(
        "aggregator.decide_rate",
        rate,
        "decisions/s",
        Target::AtLeast(20_000.0),
    );
    Ok(())
}

async fn closure(
    channel: &Channel,
    policy: &Arc<Policy>,
    made: &Made,
    report: &mut Report,
) -> Result<(), Failure> {
    let paths: Vec<String> = (0..CLOSURE).map(|number| made.path(number)).collect();
    let mut client =
        AggregatorServiceClient::new(channel.clone()).max_decoding_message_size(64 << 20);
    for (name, target) in [("cold", 500.0), ("warm", 50.0)] {
        let request = pb::DecideManyRequest {
            paths: paths.clone(),
            closure: false,
        };
        let begun = Instant::now();
        let answer = client
            .decide_many(request)
            .await
            .map_err(Failure::unknown)?;
        let ms = begun.elapsed().as_secs_f64() * 1e3;
        let decisions = answer.into_inner().decisions;
        let accepted = decisions
            .iter()
            .filter(|decision| decision.outcome() == pb::Outcome::Accepted)
            .count();
        if accepted == 0 {
            return Err(Failure::unknown("nothing of the closure was accepted"));
        }
        let name = format!("aggregator.closure_{name}");
        report.add(&name, ms, "ms", Target::AtMost(target));
    }
    let client = AggregatorClient::new(channel.clone(), policy.clone());
    let root = made.path(0);
    let begun = Instant::now();
    client.decide(&root).await.map_err(Failure::unknown)?;
    let ms = begun.elapsed().as_secs_f64() * 1e3;
    report.add("aggregator.root_of_closure", ms, "ms", Target::None);
    Ok(())
}

/// The most memory of this process, looked at ten times a second.
struct Peak {
    bytes: Arc<std::sync::atomic::AtomicU64>,
    looking: tokio::task::JoinHandle<()>,
}

impl Peak {
    fn start() -> Self {
        let bytes = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let into = bytes.clone();
        let looking = tokio::spawn(async move {
            loop {
                let now = resident_bytes();
                into.fetch_max(now, std::sync::atomic::Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Self { bytes, looking }
    }

    fn mib(self) -> f64 {
        self.looking.abort();
        float(self.bytes.load(std::sync::atomic::Ordering::Relaxed)) / MIB
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1_024)
}
