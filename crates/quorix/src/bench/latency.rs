//! How long a single submission takes at a steady thousand a second, counted from when it was due.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::disk::SyncLatency;
use super::entries::Entries;
use super::figure::{Report, Target, quantile};
use super::stand::Stand;
use crate::output::Failure;

const SUBMISSIONS: u64 = 10_000;
const PERIOD: Duration = Duration::from_millis(1);
/// Numbers that no other measurement uses.
const FIRST: u64 = 1 << 40;

/// Submits ten thousand entries, each by itself, one a millisecond.
pub(super) async fn single(
    stand: &mut Stand,
    sync: &SyncLatency,
    report: &mut Report,
) -> Result<(), Failure> {
    let (client, made) = (stand.client()?, Entries::new()?);
    let begin = FIRST.saturating_add(stand.size());
    let mut due = Instant::now();
    let mut answers = JoinSet::new();
    for number in 0..SUBMISSIONS {
        due += PERIOD;
        let bytes = made.get(begin.saturating_add(number));
        let client = client.clone();
        answers.spawn(async move {
            sleep_until(due).await;
            let answer = client.submit(vec![bytes], Vec::new()).await;
            answer.map(|_| due.elapsed().as_secs_f64() * 1e3)
        });
        if number % 1_000 == 999 {
            sleep_until(due).await;
        }
    }
    let mut samples = Vec::new();
    while let Some(answer) = answers.join_next().await {
        samples.push(
            answer
                .map_err(Failure::unknown)?
                .map_err(Failure::unknown)?,
        );
    }
    let most = 3.0 * sync.median + 20.0;
    let p50 = quantile(&mut samples, 0.5);
    report.add("log.single_p50", p50, "ms", Target::None);
    let p99 = quantile(&mut samples, 0.99);
    report.add("log.single_p99", p99, "ms", Target::AtMost(most));
    Ok(())
}
