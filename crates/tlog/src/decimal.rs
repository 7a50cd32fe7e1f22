//! Decimal numbers as every C2SP text format writes them: ASCII digits, no sign, no leading zero,
//! "0" only for zero. Never accepts a second spelling of a number, which would let two different
//! texts mean one checkpoint or one tile.

/// Reads a whole text as one number; `None` if it is not in the one permitted spelling or does not
/// fit 64 bits.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if leading_zero || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_number_has_exactly_one_spelling() {
        assert_eq!(parse("0"), Some(0));
        assert_eq!(parse("10"), Some(10));
        assert_eq!(parse("18446744073709551615"), Some(u64::MAX));
        for wrong in [
            "",
            "00",
            "01",
            "+1",
            "-1",
            " 1",
            "1 ",
            "1\n",
            "0x1",
            "١",
            "18446744073709551616",
        ] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
