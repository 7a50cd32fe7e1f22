//! A bar for long work on whole logs: how many entries of how many, how fast, how long still. Only where somebody looks.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

/// A bar over entries, on standard error; hidden where nobody looks.
pub(super) fn bar(doing: &'static str) -> ProgressBar {
    if !output::has_viewer() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    let template = "{msg} {human_pos} of {human_len} entries  {wide_bar}  {per_sec:0}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(doing);
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// Says where the work stands.
pub(super) fn stands(bar: &ProgressBar, size: u64, of: u64) {
    bar.set_length(of);
    bar.set_position(size);
}

/// A number with a comma between each three digits.
pub(super) fn number(value: u64) -> String {
    indicatif::HumanCount(value).to_string()
}

/// `1 entry`, `2 entries`.
pub(super) fn counted(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(value), if value == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_words_follow_them() {
        assert_eq!(counted(1, "entry", "entries"), "1 entry");
        assert_eq!(counted(70_000, "entry", "entries"), "70,000 entries");
        assert_eq!(counted(0, "entry", "entries"), "0 entries");
    }
}
