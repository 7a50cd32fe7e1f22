//! The first page: is all well? One sentence with the counts, the logs with their health, the first disagreements.
//! A quarantined log stands before everything else.

use askama::Template;
use quorix_wire::pb;

use super::log::LogRow;
use super::outputs::OutputTable;
use super::{Frame, Mark, Section, State};
use crate::format::{count, percent, thousands};

/// Outputs that disagree, shown on this page; the list of disagreements has all.
pub const DISAGREEMENTS: u32 = 10;

/// The page.
#[derive(Debug, Template)]
#[template(path = "overview.html")]
pub struct Overview {
    /// Around it.
    pub frame: Frame,
    /// Number of outputs that anything is known of.
    pub outputs: u64,
    /// The counts in words.
    pub sentence: String,
    /// The counts, as a table and as a bar.
    pub shares: Vec<Share>,
    /// The health of the logs in words.
    pub logs_sentence: String,
    /// All logs.
    pub logs: Vec<LogRow>,
    /// Those that are quarantined.
    pub quarantined: Vec<LogRow>,
    /// The first outputs that disagree.
    pub disagreements: OutputTable,
    /// Leads to all of them.
    pub all_disagreements: String,
}

/// How many outputs are in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The state.
    pub state: State,
    /// Where it is explained or listed.
    pub href: Option<&'static str>,
    /// How many.
    pub count: String,
    /// Of all.
    pub percent: String,
    /// What the state means.
    pub meaning: &'static str,
    /// Where its part of the bar starts, of 1000.
    pub start: u64,
    /// How wide its part of the bar is, of 1000.
    pub width: u64,
}

impl Overview {
    /// The page from the three answers that it needs; `known` are the policy's builders and caches in its order.
    #[must_use]
    pub fn new(
        counts: &pb::GetOverviewResponse,
        logs: &[pb::LogStatus],
        disagreements: &[pb::OutputSummary],
        known: &[String],
        now_s: u64,
    ) -> Self {
        let rows: Vec<LogRow> = logs.iter().map(|log| LogRow::new(log, now_s)).collect();
        let shown = disagreements
            .get(..DISAGREEMENTS as usize)
            .unwrap_or(disagreements);
        Self {
            frame: Frame::new("Overview", Section::Overview, now_s),
            outputs: counts.outputs,
            sentence: sentence(counts),
            shares: shares(counts),
            logs_sentence: logs_sentence(logs),
            quarantined: rows.iter().filter(|row| row.quarantined).cloned().collect(),
            logs: rows,
            disagreements: OutputTable::new(
                "Each column is a builder or cache; equal letters are equal fingerprints.",
                shown,
                known,
            ),
            all_disagreements: match counts.disagree {
                total if total > shown.len() as u64 => {
                    format!("All {} disagreements", thousands(total))
                }
                _ => "Filter disagreements".to_owned(),
            },
        }
    }
}

/// "Of 126,000 outputs 97.9 % agree, 412 disagree, 2,104 have one builder."
fn sentence(counts: &pb::GetOverviewResponse) -> String {
    let rest = counts
        .outputs
        .saturating_sub(counts.agree)
        .saturating_sub(counts.disagree)
        .saturating_sub(counts.one_builder);
    let disagree = match counts.disagree {
        0 => "none disagrees".to_owned(),
        1 => "1 disagrees".to_owned(),
        many => format!("{} disagree", thousands(many)),
    };
    let one = match counts.one_builder {
        0 => "none has only one builder".to_owned(),
        1 => "1 has one builder".to_owned(),
        many => format!("{} have one builder", thousands(many)),
    };
    let none = match rest {
        0 => String::new(),
        1 => ", 1 has no data".to_owned(),
        many => format!(", {} have no data", thousands(many)),
    };
    let outputs = count(counts.outputs, "output", "outputs");
    if counts.outputs > 0 && counts.agree == counts.outputs {
        return format!("Of {outputs} all agree.");
    }
    format!(
        "Of {outputs} {} agree, {disagree}, {one}{none}.",
        percent(counts.agree, counts.outputs)
    )
}

fn shares(counts: &pb::GetOverviewResponse) -> Vec<Share> {
    let states = [
        (
            State::new(Mark::Agree, "agree"),
            counts.agree,
            None,
            "two or more builders, all with the same fingerprint",
        ),
        (
            State::new(Mark::OneBuilder, "one builder"),
            counts.one_builder,
            None,
            "nobody else has built it yet",
        ),
        (
            State::new(Mark::Disagree, "disagree"),
            counts.disagree,
            Some("/disagreements"),
            "two or more different fingerprints",
        ),
    ];
    let mut start = 0;
    let mut shares = Vec::with_capacity(states.len());
    for (state, count, href, meaning) in states {
        let width = bar(count, counts.outputs).min(1000 - start);
        shares.push(Share {
            state,
            href,
            count: thousands(count),
            percent: percent(count, counts.outputs),
            meaning,
            start,
            width,
        });
        start += width;
    }
    // What is rare must be seen: its least width is taken from the widest.
    let missing = shares
        .iter()
        .filter(|share| share.count != "0" && share.width < 4)
        .map(|share| 4 - share.width)
        .sum::<u64>();
    if missing > 0 {
        let widest = shares
            .iter()
            .map(|share| share.width)
            .max()
            .unwrap_or_default();
        let mut taken = false;
        let mut start = 0;
        for share in &mut shares {
            if share.width == widest && !taken {
                share.width = share.width.saturating_sub(missing);
                taken = true;
            } else if share.count != "0" {
                share.width = share.width.max(4);
            }
            share.start = start;
            start += share.width;
        }
    }
    shares
}

fn bar(part: u64, whole: u64) -> u64 {
    let thousandth = u128::from(part) * 1000 / u128::from(whole.max(1));
    u64::try_from(thousandth).unwrap_or(1000).min(1000)
}

/// "2 of 3 logs are live; carol-ci is stale."
fn logs_sentence(logs: &[pb::LogStatus]) -> String {
    let live = logs
        .iter()
        .filter(|log| log.state() == pb::LogState::Live)
        .count();
    match (live, logs.len()) {
        (1, 1) => "The one log is live.".to_owned(),
        (live, all) if live == all => format!("All {all} logs are live."),
        (0, 1) => "The one log is not live: it adds no votes.".to_owned(),
        (0, all) => format!("None of the {all} logs is live: they add no votes."),
        (1, all) => format!(
            "1 of {all} logs is live; the others add no votes, but what they said still counts as dissent."
        ),
        (live, all) => format!(
            "{live} of {all} logs are live; the others add no votes, but what they said still counts as dissent."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(
        outputs: u64,
        agree: u64,
        disagree: u64,
        one_builder: u64,
    ) -> pb::GetOverviewResponse {
        pb::GetOverviewResponse {
            outputs,
            agree,
            disagree,
            one_builder,
            now_s: 0,
        }
    }

    #[test]
    fn the_sentence_says_whether_all_is_well() {
        let cases = [
            (
                counts(126_000, 123_484, 412, 2_104),
                "Of 126,000 outputs 98.0 % agree, 412 disagree, 2,104 have one builder.",
            ),
            (counts(7, 7, 0, 0), "Of 7 outputs all agree."),
            (
                counts(1, 0, 1, 0),
                "Of 1 output 0 % agree, 1 disagrees, none has only one builder.",
            ),
            (
                counts(5, 2, 0, 1),
                "Of 5 outputs 40.0 % agree, none disagrees, 1 has one builder, 2 have no data.",
            ),
        ];
        for (counts, expected) in cases {
            assert_eq!(sentence(&counts), expected);
        }
    }

    #[test]
    fn rare_states_are_still_seen_in_the_bar_and_the_bar_is_never_too_long() {
        for counts in [
            counts(126_000, 123_484, 1, 2_104),
            counts(3, 1, 1, 1),
            counts(u64::MAX, u64::MAX, 0, 0),
            counts(1, u64::MAX, u64::MAX, u64::MAX),
            counts(0, 0, 0, 0),
        ] {
            let shares = shares(&counts);
            assert!(
                shares.iter().map(|share| share.width).sum::<u64>() <= 1004,
                "{shares:?}"
            );
            let mut end = 0;
            for share in shares {
                assert_eq!(share.start, end);
                end = share.start + share.width;
                assert!(
                    share.count == "0" || share.width >= 4 || counts.outputs == 1,
                    "{share:?}"
                );
            }
        }
    }

    #[test]
    fn the_health_of_the_logs_is_one_sentence() {
        let log = |state: pb::LogState| pb::LogStatus {
            state: state.into(),
            ..Default::default()
        };
        let (live, stale) = (log(pb::LogState::Live), log(pb::LogState::Stale));
        assert_eq!(
            logs_sentence(&[live.clone(), live.clone()]),
            "All 2 logs are live."
        );
        assert_eq!(
            logs_sentence(&[live.clone(), live, stale.clone()]),
            "2 of 3 logs are live; the others add no votes, but what they said still counts as dissent."
        );
        assert_eq!(
            logs_sentence(&[stale.clone(), stale]),
            "None of the 2 logs is live: they add no votes."
        );
    }
}
