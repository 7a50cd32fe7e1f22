//! What an import did, as text for people and as JSON for programs.

use std::fmt::Write as _;

use quorix_aggregator::import::{Counts, Progress};
use serde_json::{Value, json};

use crate::commands::progress::counted;

/// One way through the input: of a dump, or of a list by one cache.
pub(super) struct Pass {
    /// Its name.
    pub(super) name: String,
    /// How far it came.
    pub(super) progress: Progress,
    /// Why it did not come to the end.
    pub(super) gave_up: Option<String>,
}

/// The report as text.
pub(super) fn text(passes: &[Pass]) -> String {
    let total = total(passes);
    let mut text = format!(
        "Imported {} from {}.\n",
        counted(total.kept, "signature", "signatures"),
        counted(total.records, "record", "records")
    );
    let lines = [
        (
            total.foreign,
            "without a signature by a cache of the policy",
        ),
        (total.forged, "with a forged signature"),
        (total.malformed, "malformed"),
        (
            total.too_long,
            "with too many references to be kept: their cache is asked on demand",
        ),
        (total.absent, "not in the cache"),
        (total.failed, "about which a cache gave no answer"),
    ];
    for (count, what) in lines.into_iter().filter(|(count, _)| *count > 0) {
        let _ = writeln!(text, "  {} {what}", counted(count, "record", "records"));
    }
    for reason in passes.iter().filter_map(|pass| pass.gave_up.as_ref()) {
        let _ = writeln!(
            text,
            "Not to its end: {reason}. What was imported stays; run it again with --resume to go on."
        );
    }
    text
}

/// The report as JSON.
pub(super) fn json(passes: &[Pass]) -> Value {
    let one = |pass: &Pass| {
        json!({
            "name": pass.name.trim_end_matches(':'),
            "bytes": pass.progress.offset,
            "counts": counts(&pass.progress.counts),
            "gave_up": pass.gave_up,
        })
    };
    json!({
        "total": counts(&total(passes)),
        "passes": passes.iter().map(one).collect::<Vec<_>>(),
    })
}

fn total(passes: &[Pass]) -> Counts {
    let counts = passes.iter().map(|pass| pass.progress.counts);
    counts.fold(Counts::default(), Counts::and)
}

fn counts(counts: &Counts) -> Value {
    json!({
        "records": counts.records,
        "kept": counts.kept,
        "foreign": counts.foreign,
        "forged": counts.forged,
        "malformed": counts.malformed,
        "too_long": counts.too_long,
        "absent": counts.absent,
        "failed": counts.failed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_what_counts_and_what_does_not() {
        let pass = |name: &str, kept, forged, gave_up| Pass {
            name: name.to_owned(),
            progress: Progress {
                offset: 100,
                counts: Counts {
                    records: 1_000,
                    kept,
                    forged,
                    ..Counts::default()
                },
            },
            gave_up,
        };
        let passes = [
            pass("main", 999, 1, None),
            pass("slow", 1_000, 0, Some("slow did not answer".to_owned())),
        ];
        assert_eq!(
            text(&passes),
            "Imported 1,999 signatures from 2,000 records.\n  1 record with a forged signature\n\
             Not to its end: slow did not answer. What was imported stays; run it again with --resume to go on.\n"
        );
        assert_eq!(json(&passes).pointer("/total/kept"), Some(&1_999.into()));
    }
}
