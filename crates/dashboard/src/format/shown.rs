//! Foreign text made fit for a page: bounded, and with characters that would hide or reorder text made visible.
//! Escaping is not done here: askama does it for everything, always.

use std::fmt;

/// The most characters of a text in a line: a name, a sentence, a reason.
pub const LINE_CHARS_MAX: usize = 400;

/// The most characters of a text of several lines: a checkpoint.
pub const BLOCK_CHARS_MAX: usize = 16_384;

/// Text from outside that may stand on a page. Views hold foreign text only as this type.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shown(String);

impl Shown {
    /// One line of at most [`LINE_CHARS_MAX`] characters.
    #[must_use]
    pub fn line(text: &str) -> Self {
        Self(shown(text, LINE_CHARS_MAX, false))
    }

    /// Several lines, together at most [`BLOCK_CHARS_MAX`] characters. Bytes that are not UTF-8 show as `�`.
    #[must_use]
    pub fn block(bytes: &[u8]) -> Self {
        // No character has more than four bytes: what is cut off here would not be shown either.
        let (start, cut) = match bytes.get(..BLOCK_CHARS_MAX * 4) {
            Some(start) => (start, true),
            None => (bytes, false),
        };
        let text = String::from_utf8_lossy(start);
        let mut text = shown(&text, BLOCK_CHARS_MAX, true);
        if cut && !text.ends_with(')') {
            text.push('…');
        }
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if there is nothing to show.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Shown {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

fn shown(text: &str, chars_max: usize, lines: bool) -> String {
    let mut shown = String::with_capacity(text.len().min(chars_max * 4));
    let mut chars = text.chars();
    for character in chars.by_ref().take(chars_max) {
        if lines && matches!(character, '\n' | '\t') || !is_deceptive(character) {
            shown.push(character);
        } else {
            shown.push_str(&format!("⟨U+{:04X}⟩", u32::from(character)));
        }
    }
    let rest = chars.count();
    if rest > 0 {
        shown.push_str(&format!(
            "… ({} more characters)",
            super::thousands(rest as u64)
        ));
    }
    shown
}

/// Controls, and characters that are invisible or change the direction of what follows (Unicode TR 36 and 55).
fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_as_it_is() {
        assert_eq!(
            Shown::line("bob's log – größer, 日本語, שלום").as_str(),
            "bob's log – größer, 日本語, שלום"
        );
    }

    #[test]
    fn characters_that_reorder_or_hide_text_become_visible() {
        assert_eq!(
            Shown::line("a\u{202E}b\u{200B}c\u{7}\n").as_str(),
            "a⟨U+202E⟩b⟨U+200B⟩c⟨U+0007⟩⟨U+000A⟩"
        );
        assert_eq!(
            Shown::line("\u{2066}\u{E0041}\u{FEFF}").as_str(),
            "⟨U+2066⟩⟨U+E0041⟩⟨U+FEFF⟩"
        );
    }

    #[test]
    fn a_long_text_is_cut_and_says_how_much_is_missing() {
        let shown = Shown::line(&"x".repeat(10_000));
        assert_eq!(
            shown.as_str(),
            format!("{}… (9,600 more characters)", "x".repeat(LINE_CHARS_MAX))
        );
    }

    #[test]
    fn a_block_keeps_its_lines_and_bears_any_bytes() {
        assert_eq!(
            Shown::block(b"origin\n5\n\n\xff\r").as_str(),
            "origin\n5\n\n\u{FFFD}⟨U+000D⟩"
        );
        assert!(Shown::block(&vec![b'x'; 1_000_000]).as_str().len() < 20_000);
    }
}
