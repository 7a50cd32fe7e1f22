//! A decision as text for a terminal: the sentence, the matrix operator × value, the steps, the proof.

use std::fmt::Write as _;

use crate::decision::{Decision, OperatorState, OperatorView};

/// Columns of a hash in the matrix: first 7 characters, `…`, last 4.
const HASH_COLUMNS: usize = 12;

/// The whole decision as text, lines mostly at most 80 columns wide, without colour.
#[must_use]
pub fn terminal(decision: &Decision) -> String {
    let mut text = String::new();
    let subject = match &decision.path {
        Some(path) => decision.store_dir.join(path),
        None => format!(
            "{}/{}…",
            decision.store_dir.as_str(),
            decision.asked.as_str()
        ),
    };
    for line in wrapped(&decision.sentence, 76) {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(text, "\n  {subject}");
    text.push_str(&matrix(decision));
    reasons(decision, &mut text);
    sources(decision, &mut text);
    if decision.rule.line > 0 {
        let _ = writeln!(
            text,
            "\nRule in force, policy line {}:\n  {}",
            decision.rule.line, decision.rule.text
        );
    }
    if let Some(fallen) = &decision.fallen_from {
        let _ = writeln!(
            text,
            "\nFell back from rule {}: {}",
            fallen.rule.name, fallen.sentence
        );
    }
    text
}

/// Rows are values, columns operators; each cell says whether the operator votes for the value.
#[must_use]
pub fn matrix(decision: &Decision) -> String {
    let mut text = String::new();
    if decision.values.is_empty() {
        return text;
    }
    let widths: Vec<usize> = decision
        .operators
        .iter()
        .map(|one| one.operator.chars().count().max(3))
        .collect();
    let _ = write!(text, "\n    {:HASH_COLUMNS$}", "");
    for (operator, width) in decision.operators.iter().zip(&widths) {
        let _ = write!(text, "  {:^width$}", operator.operator);
    }
    text.push('\n');
    for value in &decision.values {
        let _ = write!(
            text,
            " {:2} {:HASH_COLUMNS$}",
            value.letter,
            value.fingerprint.short()
        );
        for (operator, width) in decision.operators.iter().zip(&widths) {
            let _ = write!(text, "  {:^width$}", mark(operator, &value.letter));
        }
        text.push('\n');
    }
    let mut text: String = text
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect();
    let _ = writeln!(
        text,
        "\n  ● votes   ○ said so, does not vote   · says nothing of it"
    );
    text
}

fn mark(operator: &OperatorView, letter: &str) -> &'static str {
    match (
        operator.letters.iter().any(|own| own == letter),
        operator.state,
    ) {
        (true, OperatorState::Votes) => "●",
        (true, _) => "○",
        (false, _) => "·",
    }
}

fn reasons(decision: &Decision, text: &mut String) {
    let _ = writeln!(text, "\nHow it was decided:");
    for (number, step) in (1..).zip(&decision.steps) {
        let lines = wrapped(step, 72);
        for (index, line) in lines.iter().enumerate() {
            let lead = if index == 0 {
                format!("{number}.")
            } else {
                String::new()
            };
            let _ = writeln!(text, "  {lead:2} {line}");
        }
    }
}

fn sources(decision: &Decision, text: &mut String) {
    if decision
        .operators
        .iter()
        .all(|operator| operator.sources.is_empty())
    {
        return;
    }
    let _ = writeln!(text, "\nWho said so, and where:");
    for operator in &decision.operators {
        for source in &operator.sources {
            let place = match &source.leaf {
                Some((origin, index, size)) => format!("{origin}, entry {index} of {size}"),
                None => format!("signature by {}", source.nix_key),
            };
            let _ = writeln!(text, "  {}  {} — {place}", source.letter, source.name);
        }
    }
}

/// Breaks text at spaces into lines of at most `columns` characters, longer words alone on a line.
#[must_use]
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count().saturating_add(word.chars().count()) < columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
