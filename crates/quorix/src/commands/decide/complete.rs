//! Whether an answer was complete, in words and as JSON.

use std::fmt::Write as _;

use quorix_nix::store_path::StoreDir;
use quorix_wire::client::{Completeness, LeftOut, Shown};
use serde_json::{Value, json};

/// A paragraph for people.
pub(super) fn told(completeness: &Completeness) -> String {
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    let _ = if completeness.is_shown() {
        writeln!(
            text,
            "Complete: the logs' own indexes show that nothing they say is missing."
        )
    } else {
        writeln!(
            text,
            "Not complete: a log that does not show all that it says adds no votes."
        )
    };
    for (origin, shown) in &completeness.logs {
        let _ = match shown {
            Shown::Complete { size } => writeln!(text, "  {origin}: shown at {size} entries"),
            Shown::Not { reason } => writeln!(text, "  {origin}: {reason}"),
        };
    }
    for one in &completeness.left_out {
        let _ = writeln!(
            text,
            "The aggregator left out {}; it is counted here.",
            what(one)
        );
    }
    text.trim_end().to_owned()
}

fn what(one: &LeftOut) -> String {
    let kind = if one.is_retraction {
        "retraction"
    } else {
        "entry"
    };
    let (origin, index) = (&one.origin, one.index);
    let path = StoreDir::default().join(&one.path);
    format!("{kind} {index} of {origin}, about {path}")
}

pub(super) fn as_json(completeness: &Completeness) -> Value {
    let logs = completeness.logs.iter().map(|(origin, shown)| match shown {
        Shown::Complete { size } => json!({"log": origin, "shown": true, "size": size}),
        Shown::Not { reason } => json!({"log": origin, "shown": false, "reason": reason}),
    });
    let left_out = completeness.left_out.iter().map(|one| {
        json!({
            "log": one.origin,
            "index": one.index,
            "path": StoreDir::default().join(&one.path),
            "kind": if one.is_retraction { "retraction" } else { "entry" },
        })
    });
    json!({
        "shown": completeness.is_shown(),
        "logs": logs.collect::<Vec<_>>(),
        "left_out": left_out.collect::<Vec<_>>(),
    })
}
