//! A moment on a page: relative in the text, absolute on hover. Times are POSIX seconds, UTC.

/// The last second of the year 9999: later times are shown as this one.
const LAST_S: u64 = 253_402_300_799;

/// A moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// RFC 3339, for machines.
    pub datetime: String,
    /// `2026-11-22 14:23:29 UTC`.
    pub absolute: String,
    /// `3 h ago`, `in 2 days`.
    pub relative: String,
}

impl When {
    /// The moment `at_s`, seen at `now_s`. `None` for 0, which means never or not told.
    #[must_use]
    pub fn new(at_s: u64, now_s: u64) -> Option<Self> {
        if at_s == 0 {
            return None;
        }
        let (date, clock) = civil(at_s.min(LAST_S));
        Some(Self {
            datetime: format!("{date}T{clock}Z"),
            absolute: format!("{date} {clock} UTC"),
            relative: relative(at_s, now_s),
        })
    }
}

fn relative(at_s: u64, now_s: u64) -> String {
    let apart = at_s.abs_diff(now_s);
    if apart < 5 {
        return "now".to_owned();
    }
    let duration = duration(apart);
    if at_s > now_s {
        format!("in {duration}")
    } else {
        format!("{duration} ago")
    }
}

/// A duration in its largest unit, rounded down: `12 s`, `3 min`, `3 h`, `2 days`, `5 months`, `2 years`.
#[must_use]
pub fn duration(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    const MONTH: u64 = 30 * DAY;
    const YEAR: u64 = 365 * DAY;
    let many =
        |number: u64, unit: &str| format!("{number} {unit}{}", if number == 1 { "" } else { "s" });
    match seconds {
        0..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => format!("{} min", seconds / MINUTE),
        HOUR..DAY => format!("{} h", seconds / HOUR),
        DAY..MONTH => many(seconds / DAY, "day"),
        MONTH..YEAR => many((seconds / MONTH).min(11), "month"),
        YEAR.. => many(seconds / YEAR, "year"),
    }
}

/// Date and time of day in the proleptic Gregorian calendar. Years are counted from March, so that the leap day is
/// a year's last; `at_s` is at most [`LAST_S`].
fn civil(at_s: u64) -> (String, String) {
    let (days, second) = (at_s / 86_400, at_s % 86_400);
    let from_march_0000 = days + 719_468;
    let (era, day_of_era) = (from_march_0000 / 146_097, from_march_0000 % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (
        format!("{year:04}-{month:02}-{day:02}"),
        format!(
            "{:02}:{:02}:{:02}",
            second / 3_600,
            second / 60 % 60,
            second % 60
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_utc() {
        for (at_s, expected) in [
            (1, "1970-01-01 00:00:01 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_795_357_409, "2026-11-22 14:23:29 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (LAST_S, "9999-12-31 23:59:59 UTC"),
            (u64::MAX, "9999-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(When::new(at_s, 0).unwrap().absolute, expected);
        }
        assert_eq!(
            When::new(1_795_357_409, 0).unwrap().datetime,
            "2026-11-22T14:23:29Z"
        );
    }

    #[test]
    fn zero_is_never() {
        assert_eq!(When::new(0, 1_795_357_409), None);
    }

    #[test]
    fn distance_is_told_in_the_largest_unit() {
        let now = 2_000_000_000;
        let told = |ago: u64| When::new(now - ago, now).unwrap().relative;
        assert_eq!(told(0), "now");
        assert_eq!(told(12), "12 s ago");
        assert_eq!(told(3 * 60), "3 min ago");
        assert_eq!(told(3 * 3600 + 59), "3 h ago");
        assert_eq!(told(86_400), "1 day ago");
        assert_eq!(told(3 * 86_400), "3 days ago");
        assert_eq!(told(364 * 86_400), "11 months ago");
        assert_eq!(told(800 * 86_400), "2 years ago");
        assert_eq!(When::new(now + 7200, now).unwrap().relative, "in 2 h");
    }
}
