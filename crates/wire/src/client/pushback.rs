//! How long a service asks to be left alone (gRPC, proposal A6), within bounds and with jitter.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::time::Duration;

use tonic::Status;

/// Milliseconds, in the trailers of a refusal.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The longest pause that a service can ask for. More is taken for this much: a log must not silence a builder.
pub const PUSHBACK_MAX: Duration = Duration::from_secs(60);

/// The shortest, whatever a service says.
pub const PUSHBACK_MIN: Duration = Duration::from_millis(50);

/// What the service asks for; `None` where it says nothing, or says that it should not be asked again.
pub(super) fn of(status: &Status) -> Option<Duration> {
    let value = status.metadata().get(PUSHBACK)?.to_str().ok()?;
    let wait = Duration::from_millis(value.parse().ok()?);
    Some(wait.clamp(PUSHBACK_MIN, PUSHBACK_MAX))
}

/// The pause with up to half of it more, so that not all who were turned away come back at once.
#[must_use]
pub fn jittered(wait: Duration) -> Duration {
    // The standard library seeds each of these anew: random enough to spread load.
    let random = RandomState::new().hash_one(wait) % 1024;
    let step = wait / 2048;
    wait.saturating_add(step.saturating_mul(u32::try_from(random).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: &str) -> Option<Duration> {
        let mut status = Status::resource_exhausted("busy");
        let value = value.parse().unwrap();
        status.metadata_mut().insert(PUSHBACK, value);
        of(&status)
    }

    #[test]
    fn a_pause_is_bounded_whatever_a_service_says() {
        assert_eq!(of(&Status::resource_exhausted("busy")), None);
        for (said, taken) in [
            ("200", Some(Duration::from_millis(200))),
            ("0", Some(PUSHBACK_MIN)),
            ("60001", Some(PUSHBACK_MAX)),
            ("18446744073709551615", Some(PUSHBACK_MAX)),
            ("18446744073709551616", None),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(asked(said), taken, "{said}");
        }
    }

    #[test]
    fn jitter_never_shortens_a_pause_and_adds_at_most_half() {
        let wait = Duration::from_millis(200);
        let pauses: Vec<_> = (0..100).map(|_| jittered(wait)).collect();
        let most = Duration::from_millis(300);
        assert!(pauses.iter().all(|pause| (wait..=most).contains(pause)));
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
