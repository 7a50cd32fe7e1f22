//! Which numbered requests of one token were taken, in bounded memory and without a clock.
//!
//! A session is one challenge that was given out; its requests are numbered by the client and may overtake one
//! another by less than 64. When there are too many sessions the oldest is forgotten, and with it everything that is
//! as old is refused for ever: forgetting never makes a used number good again.

use std::collections::BTreeMap;

/// Sessions of one token that are remembered. A client of a forgotten one asks for a new challenge.
const SESSIONS_MAX: usize = 256;

/// How far a number may be behind the highest.
const WINDOW: u64 = 64;

/// The sessions of one token.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    /// Sessions below are refused.
    floor: u64,
    open: BTreeMap<u64, Window>,
}

/// The numbers used in one session: bit n is set if `highest - n` was.
#[derive(Clone, Copy, Debug)]
struct Window {
    highest: u64,
    used: u64,
}

impl From<u64> for Sessions {
    /// Refuses the sessions below `floor`.
    fn from(floor: u64) -> Self {
        Self {
            floor,
            open: BTreeMap::new(),
        }
    }
}

impl Sessions {
    /// Uses up a number of a session. False if it was used, or may have been.
    pub(super) fn take(&mut self, session: u64, sequence: u64) -> bool {
        if session < self.floor {
            return false;
        }
        if let Some(window) = self.open.get_mut(&session) {
            return window.take(sequence);
        }
        let window = Window {
            highest: sequence,
            used: 1,
        };
        self.open.insert(session, window);
        if self.open.len() > SESSIONS_MAX
            && let Some((oldest, _)) = self.open.pop_first()
        {
            self.floor = oldest.saturating_add(1);
        }
        true
    }
}

impl Window {
    fn take(&mut self, sequence: u64) -> bool {
        if let Some(ahead) = sequence.checked_sub(self.highest).filter(|by| *by > 0) {
            self.used = match ahead {
                1..WINDOW => self.used.checked_shl(u32::try_from(ahead).unwrap_or(64)),
                _ => None,
            }
            .unwrap_or(0)
                | 1;
            self.highest = sequence;
            return true;
        }
        let behind = self.highest.saturating_sub(sequence);
        if behind >= WINDOW {
            return false;
        }
        let bit = 1_u64
            .checked_shl(u32::try_from(behind).unwrap_or(64))
            .unwrap_or(0);
        let is_new = self.used & bit == 0;
        self.used |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_good_once_in_any_near_order() {
        let mut sessions = Sessions::from(0);
        for sequence in [0, 5, 3, 68, 6] {
            assert!(sessions.take(7, sequence), "{sequence}");
        }
        for sequence in [0, 5, 3, 68, 6, 4] {
            assert!(!sessions.take(7, sequence), "{sequence}");
        }
        assert!(sessions.take(7, 7));
        assert!(sessions.take(7, u64::MAX));
        assert!(!sessions.take(7, u64::MAX));
        assert!(!sessions.take(7, 69), "too far behind to be known");
        assert!(sessions.take(7, u64::MAX - 63));
    }

    #[test]
    fn another_session_has_its_own_numbers() {
        let mut sessions = Sessions::from(0);
        assert!(sessions.take(1, 0));
        assert!(sessions.take(2, 0));
        assert!(!sessions.take(1, 0));
    }

    #[test]
    fn what_was_forgotten_is_never_good_again() {
        let mut sessions = Sessions::from(10);
        assert!(!sessions.take(9, 0), "below the floor from the start");
        let last = 10 + SESSIONS_MAX as u64;
        for session in 10..=last {
            assert!(sessions.take(session, 0));
        }
        assert_eq!(sessions.open.len(), SESSIONS_MAX);
        assert!(!sessions.take(10, 0) && !sessions.take(10, 1));
        assert!(sessions.take(11, 1));
        // An unused old session is forgotten at once: taken this once, refused from then on.
        let mut sessions = Sessions::from(0);
        for session in 1..=SESSIONS_MAX as u64 {
            assert!(sessions.take(session, 0));
        }
        assert!(sessions.take(0, 0));
        assert!(!sessions.take(0, 0) && !sessions.take(0, 1));
        assert!(!sessions.take(1, 0), "still remembered");
    }
}
