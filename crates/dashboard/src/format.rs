//! How things are written on a page: foreign text, hashes, times, numbers, addresses. Pure: the time is an
//! argument. Follows the project's rules of speech: `126,000`, `97.9 %`, `3 h ago`, `1b5q2k7…9xr0`.

pub mod hash;
pub mod prose;
pub mod shown;
pub mod time;

/// `1234567` as `1,234,567`.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `part` of `whole` in percent with one digit, rounded down, so that only all is `100 %` and only none is `0 %`:
/// what there is a little of is `under 0.1 %`.
#[must_use]
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 || part == 0 {
        return "0 %".to_owned();
    }
    if part >= whole {
        return "100 %".to_owned();
    }
    let permille = u128::from(part) * 1000 / u128::from(whole);
    if permille == 0 {
        return "under 0.1 %".to_owned();
    }
    format!("{}.{} %", permille / 10, permille % 10)
}

/// `1 entry`, `2 entries`.
#[must_use]
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!(
        "{} {}",
        thousands(number),
        if number == 1 { one } else { many }
    )
}

/// `a`, `a and b`, `a, b and c`; `last` is the word before the last one.
#[must_use]
pub fn list<T: AsRef<str>>(items: &[T], last: &str) -> String {
    match items {
        [] => String::new(),
        [only] => only.as_ref().to_owned(),
        [first @ .., end] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} {last} {}", first.join(", "), end.as_ref())
        }
    }
}

/// `text` as one segment of a path, or as a value in a query: everything but RFC 3986's unreserved characters is
/// percent-encoded.
#[must_use]
pub fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_000), "1,000");
        assert_eq!(thousands(126_000), "126,000");
        assert_eq!(thousands(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn a_share_never_looks_larger_than_it_is_nor_like_nothing() {
        assert_eq!(percent(0, 0), "0 %");
        assert_eq!(percent(0, 5), "0 %");
        assert_eq!(percent(1, 126_000), "under 0.1 %");
        assert_eq!(percent(123_354, 126_000), "97.9 %");
        assert_eq!(percent(125_999, 126_000), "99.9 %");
        assert_eq!(percent(126_000, 126_000), "100 %");
        assert_eq!(percent(u64::MAX - 1, u64::MAX), "99.9 %");
    }

    #[test]
    fn trustix_a_share_of_half_is_fifty_percent_not_two_hundred() {
        assert_eq!(percent(100, 200), "50.0 %");
    }

    #[test]
    fn names_are_listed_as_one_speaks() {
        assert_eq!(list::<&str>(&[], "or"), "");
        assert_eq!(list(&["bob"], "or"), "bob");
        assert_eq!(list(&["bob", "example"], "or"), "bob or example");
        assert_eq!(
            list(&["alice", "bob", "example"], "and"),
            "alice, bob and example"
        );
    }

    #[test]
    fn an_address_carries_any_text_in_one_segment() {
        assert_eq!(segment("abc-1.2_~"), "abc-1.2_~");
        assert_eq!(segment("a/b?c=d&e#f\"<"), "a%2Fb%3Fc%3Dd%26e%23f%22%3C");
        assert_eq!(segment("ü"), "%C3%BC");
    }
}
