//! The text of `nix.conf`, which is also that of the variable `NIX_CONFIG`: lines `name = value`.
//!
//! Read as Nix reads it, apart from `include`, which is left out: files are the caller's affair. Unknown settings are
//! kept, malformed lines are passed over, since it is Nix's to complain about them. Manual: "nix.conf".

use std::collections::BTreeMap;

/// The most bytes of settings that are read; what is beyond is not looked at.
pub const SETTINGS_BYTES_MAX: usize = 1024 * 1024;

/// The settings of one text, each with the value of its last line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Reads lines `name = value`; `#` begins a comment, blanks around and within a value count as one space.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut end = text.len().min(SETTINGS_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        let lines = text.get(..end).unwrap_or_default().lines();
        Self(lines.filter_map(parse_line).collect())
    }

    /// The value of the setting, empty where it is set to nothing, `None` where it is not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

fn parse_line(line: &str) -> Option<(String, String)> {
    let line = line.split('#').next()?;
    let mut tokens = line.split_whitespace();
    let name = tokens.next()?;
    if tokens.next() != Some("=") {
        return None;
    }
    Some((name.to_owned(), tokens.collect::<Vec<_>>().join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_setting_wins_and_comments_do_not_count() {
        let settings = Settings::parse("store = /a\n# store = /b\nstore = /c # why\ncores = 0\n");
        assert_eq!(settings.get("store"), Some("/c"));
        assert_eq!(settings.get("cores"), Some("0"));
        assert_eq!(settings.get("substituters"), None);
    }

    #[test]
    fn an_empty_value_is_not_an_absent_one() {
        assert_eq!(
            Settings::parse("substituters =\n").get("substituters"),
            Some("")
        );
    }

    #[test]
    fn a_malformed_line_does_not_hide_the_others() {
        let settings = Settings::parse("garbage\nstore=/a\n= x\ninclude /b\nkeep-going = true");
        assert_eq!(settings.get("keep-going"), Some("true"));
        assert_eq!(settings.get("store"), None);
    }

    #[test]
    fn a_text_beyond_the_limit_is_cut_and_not_refused() {
        let text = format!(
            "store = /a\nx = {}\nstore = /b\n",
            "ä".repeat(SETTINGS_BYTES_MAX)
        );
        assert_eq!(Settings::parse(&text).get("store"), Some("/a"));
    }
}
