//! Who takes up the places of a listener: none of them more than a share, so that others find one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

/// The most connections of one address of the network, or of one user of this machine, at once.
pub(super) const FROM_ONE_MAX: usize = 64;

/// The most connections of all those users together who may not use a socket. They are taken all the same, to be told so.
const STRANGERS_MAX: usize = 16;

/// Whether a process of this user and group may use a socket.
pub type Door = Arc<dyn Fn(u32, u32) -> bool + Send + Sync>;

/// Whom places are counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Who {
    /// An address, of IPv6 its first 64 bits: what one customer has.
    Address(IpAddr),
    /// A user of this machine.
    User(u32),
    /// A user of this machine that may not use the socket: all of them are one.
    Stranger,
}

impl Who {
    const fn most(self) -> usize {
        match self {
            Self::Address(_) | Self::User(_) => FROM_ONE_MAX,
            Self::Stranger => STRANGERS_MAX,
        }
    }

    /// Who is counted; not this machine's own addresses, where a proxy comes from with everybody's connections.
    pub(super) fn of(address: IpAddr) -> Option<Self> {
        let address = address.to_canonical();
        if address.is_loopback() {
            return None;
        }
        Some(Self::Address(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(address) => {
                let prefix = u128::from(address) & !u128::from(u64::MAX);
                Ipv6Addr::from(prefix).into()
            }
        }))
    }
}

/// How many places each has. Remembers nobody who has none.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<HashMap<Who, usize>>>);

/// A place of a listener, until it is dropped.
pub(super) struct Place {
    _room: OwnedSemaphorePermit,
    counted: Option<(Places, Who)>,
}

impl Places {
    /// A place for this one; `None` if it has its share already.
    pub(super) fn take(&self, room: OwnedSemaphorePermit, who: Option<Who>) -> Option<Place> {
        if let Some(who) = who {
            let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let count = taken.entry(who).or_default();
            if *count >= who.most() {
                return None;
            }
            *count = count.saturating_add(1);
        }
        Some(Place {
            _room: room,
            counted: who.map(|who| (self.clone(), who)),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((Places(places), who)) = &self.counted else {
            return;
        };
        let mut taken = places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(who) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    fn who(address: &str) -> Option<Who> {
        Who::of(address.parse().unwrap())
    }

    #[test]
    fn one_address_has_its_share_of_the_places_and_others_find_one() {
        let room = Arc::new(Semaphore::new(256));
        let permit = || Arc::clone(&room).try_acquire_owned().unwrap();
        let places = Places::default();
        let mut taken: Vec<_> = (0..FROM_ONE_MAX)
            .map(|_| places.take(permit(), who("192.0.2.1")).unwrap())
            .collect();
        assert!(places.take(permit(), who("192.0.2.1")).is_none());
        assert!(places.take(permit(), who("192.0.2.2")).is_some());
        assert!(places.take(permit(), Some(Who::User(1000))).is_some());
        taken.pop();
        assert!(places.take(permit(), who("192.0.2.1")).is_some());
        drop(taken);
        assert!(places.0.lock().unwrap().is_empty());
        assert_eq!(room.available_permits(), 256);
    }

    #[test]
    fn all_users_that_may_not_submit_share_a_few_places() {
        let room = Arc::new(Semaphore::new(256));
        let take = |places: &Places, who| {
            places.take(Arc::clone(&room).try_acquire_owned().unwrap(), Some(who))
        };
        let places = Places::default();
        let strangers: Vec<_> = (0..100)
            .filter_map(|_| take(&places, Who::Stranger))
            .collect();
        assert_eq!(strangers.len(), STRANGERS_MAX);
        assert!(take(&places, Who::User(1000)).is_some());
    }

    #[test]
    fn addresses_of_one_network_are_one_and_this_machines_own_are_not_counted() {
        assert_eq!(who("2001:db8::1"), who("2001:db8::ffff:2"));
        assert_ne!(who("2001:db8::1"), who("2001:db8:0:1::1"));
        assert_eq!(who("::ffff:192.0.2.1"), who("192.0.2.1"));
        assert_eq!(who("127.0.0.1"), None);
        assert_eq!(who("::1"), None);
        assert_eq!(who("::ffff:127.0.0.1"), None);
    }
}
