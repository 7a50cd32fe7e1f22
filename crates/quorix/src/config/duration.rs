//! Lengths of time as people write them: `500ms`, `10s`, `5m`, `1h`.

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

/// A length of time in a configuration file, 1 ms to 30 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Period(pub Duration);

impl Period {
    pub(super) fn ten_seconds() -> Self {
        Self(Duration::from_secs(10))
    }

    pub(super) fn ten_minutes() -> Self {
        Self(Duration::from_secs(600))
    }

    pub(super) fn one_minute() -> Self {
        Self(Duration::from_secs(60))
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a length of time: write 500ms, 10s, 5m or 1h");
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        let milliseconds = number.checked_mul(milliseconds).ok_or_else(wrong)?;
        match milliseconds {
            1..=2_592_000_000 => Ok(Self(Duration::from_millis(milliseconds))),
            _ => Err(format!("`{text}` is outside 1ms to 720h")),
        }
    }
}

impl TryFrom<String> for Period {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}
