//! Times and durations as people write them.

/// A time: a date, a UTC time of a date, or POSIX seconds. POSIX seconds.
#[must_use]
pub fn date(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let (day, time) = match text.split_once('T') {
        Some((day, time)) => (day, time.strip_suffix('Z')?),
        None => (text, "00:00:00"),
    };
    let mut day = day.split('-');
    let (year, month, of_month) = (part(&mut day, 4)?, part(&mut day, 2)?, part(&mut day, 2)?);
    let mut time = time.split(':');
    let (hour, minute, second) = (
        part(&mut time, 2)?,
        part(&mut time, 2)?,
        part(&mut time, 2)?,
    );
    let is_good = day.next().is_none()
        && time.next().is_none()
        && (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&of_month)
        && hour < 24
        && minute < 60
        && second < 60;
    is_good.then(|| {
        let days = days_before(year, month).saturating_add(of_month.saturating_sub(1));
        let hours = days.saturating_mul(24).saturating_add(hour);
        let minutes = hours.saturating_mul(60).saturating_add(minute);
        minutes.saturating_mul(60).saturating_add(second)
    })
}

/// A duration: a number and s, m, h, d or w. Seconds, at least one.
pub(super) fn duration(text: &str) -> Option<u64> {
    let unit = text.chars().last()?;
    let number = text.strip_suffix(unit)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    let is_plain = !number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit());
    is_plain
        .then(|| number.parse::<u64>().ok())?
        .and_then(|number| number.checked_mul(seconds))
}

fn part<'t>(parts: &mut impl Iterator<Item = &'t str>, digits: usize) -> Option<u64> {
    let part = parts.next()?;
    let is_plain = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| part.parse().ok())?
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of a month; `year` is at least 1970.
fn days_before(year: u64, month: u64) -> u64 {
    let years = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 });
    let months = (1..month).map(|month| days_in(year, month));
    years.chain(months).sum()
}
