//! Who may submit to a log, how often, and that no request of theirs is taken twice.
//!
//! Pure logic without sockets: told who is at the other end of a connection and what the request carries, it says yes
//! with the submitter's name, or no with the reason. The time is an argument. A submitter is known by the user of a
//! process on this machine, by a client certificate, or by a token. Memory is bounded by the configuration: nothing is
//! kept about whoever is not known.

mod grants;
mod limits;
mod metrics;
mod sessions;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::registry::Registry;
use quorix_wire::token::{Authorization, Challenge};

pub use grants::{Grants, GrantsError};
pub use limits::Limits;

use limits::Allowance;
use metrics::Metrics;
use sessions::Sessions;

/// What of a refusal is the same for everybody: nothing in it tells a wrong name from a wrong signature.
const NOT_KNOWN: &str = "this log takes entries from whom it knows: with a token made by `quorix token generate`, whose line is in the log's token file, or with a client certificate that its configuration names";

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process of this machine, through a Unix socket.
    Process {
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// Whoever, over TCP.
    Network {
        /// The certificate that it proved to have, of an authority that the listener knows.
        certificate: Option<Arc<Certificate>>,
    },
}

/// A verified client certificate, as far as it says who that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its DNS and URI names.
    pub names: Vec<String>,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub key: [u8; 32],
}

/// A client certificate that may submit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Client {
    /// By one of its DNS or URI names, exactly.
    Name(String),
    /// By the SHA-256 of its SubjectPublicKeyInfo.
    Key([u8; 32]),
}

/// Who may submit, besides those who have a token.
#[derive(Clone, Debug, Default)]
pub struct Doors {
    /// Users of this machine and what they are called. The owner of the log has no limits.
    pub users: BTreeMap<u32, String>,
    /// Groups of this machine and what their members are called.
    pub groups: BTreeMap<u32, String>,
    /// The users among them that have no limits: the owner of the log.
    pub unlimited: Vec<u32>,
    /// Client certificates.
    pub clients: Vec<Client>,
    /// Processes of this machine need a token too.
    pub token_on_socket: bool,
    /// Of each submitter, where a token says nothing else.
    pub limits: Limits,
}

/// A request that may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The submitter's name, out of the configuration.
    pub submitter: Arc<str>,
    /// What its entries and blobs must be, where it signed them.
    pub body: Option<[u8; 32]>,
    /// It has no limits: the owner of the log.
    pub is_unlimited: bool,
}

/// A request that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Neither token nor certificate, an unknown one, or a signature that is not the token's.
    #[error("{NOT_KNOWN}")]
    NotKnown,
    /// The signature is good and its challenge is not: of another run of the log, or used.
    #[error(
        "the challenge of this request is of another run of the log or was used before: ask for a new one (GetStatus) and sign again"
    )]
    Stale,
    /// A user of this machine that may not.
    #[error(
        "user {uid} may not submit to this log: add it to `users` in [log], or submit as the log's owner"
    )]
    User {
        /// The user.
        uid: u32,
    },
    /// Above the limits of this submitter.
    #[error(
        "{submitter} is above its limits: try again in {} ms",
        wait.as_millis()
    )]
    Limited {
        /// The submitter.
        submitter: Arc<str>,
        /// When it may try again.
        wait: Duration,
    },
    /// More bytes at once than this submitter may send.
    #[error(
        "the request has at least {bytes} bytes, {submitter} may send {limit} at once: send it in parts"
    )]
    TooLarge {
        /// The submitter.
        submitter: Arc<str>,
        /// Entries and blobs of the request, as far as they were read.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
}

/// The access control of one running log.
pub struct Access {
    boot_id: [u8; 16],
    next_session: AtomicU64,
    doors: Doors,
    known: Mutex<Known>,
    metrics: Metrics,
}

/// What is remembered about known submitters.
#[derive(Default)]
struct Known {
    grants: Grants,
    sessions: BTreeMap<String, Sessions>,
    allowances: BTreeMap<Arc<str>, Allowance>,
}

impl Access {
    /// Access control that begins now. `boot_id` are 16 random bytes of this run.
    #[must_use]
    pub fn new(boot_id: [u8; 16], doors: Doors, grants: Grants, registry: &mut Registry) -> Self {
        let access = Self {
            boot_id,
            next_session: AtomicU64::new(0),
            doors,
            known: Mutex::default(),
            metrics: Metrics::register(registry),
        };
        access.replace_grants(grants);
        access
    }

    /// Takes the tokens of a file that was read again. Who is no longer in it is refused from now on; a challenge that
    /// was given out before a token was added, or got another key, is not good for it.
    pub fn replace_grants(&self, grants: Grants) {
        let mut known = self.known();
        let issued = self.next_session.load(Ordering::SeqCst);
        let mut sessions = std::mem::take(&mut known.sessions);
        known.sessions = grants
            .iter()
            .map(|granted| {
                let same = known
                    .grants
                    .get(granted.grant.name())
                    .is_some_and(|old| old.grant == granted.grant);
                let kept = sessions
                    .remove(granted.grant.name())
                    .filter(|_| same)
                    .unwrap_or_else(|| Sessions::from(issued));
                (granted.grant.name().to_owned(), kept)
            })
            .collect();
        known.grants = grants;
        // Limits may have changed; everybody begins with a full allowance.
        known.allowances.clear();
    }

    /// A challenge for whoever asks, where tokens are of use. Remembers nothing.
    #[must_use]
    pub fn challenge(&self) -> Option<Challenge> {
        if self.known().grants.is_empty() {
            return None;
        }
        Some(Challenge {
            boot_id: self.boot_id,
            session: self.next_session.fetch_add(1, Ordering::SeqCst),
        })
    }

    /// Whether a submission may be read, before any of it is. `now` is the time since some fixed moment; it must not
    /// go back.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn admit(
        &self,
        peer: Option<&Peer>,
        authorization: Option<&[u8]>,
        now: Duration,
    ) -> Result<Admitted, Refusal> {
        let admitted = self.identify(peer, authorization);
        let admitted = admitted.and_then(|(admitted, limits)| {
            let Some(limits) = limits else {
                return Ok(admitted);
            };
            let mut known = self.known();
            let allowance = known
                .allowances
                .entry(Arc::clone(&admitted.submitter))
                .or_insert_with(|| Allowance::full(limits, now));
            match allowance.begin(now) {
                Ok(()) => Ok(admitted),
                Err(wait) => Err(Refusal::Limited {
                    submitter: admitted.submitter,
                    wait,
                }),
            }
        });
        if let Err(refusal) = &admitted {
            self.metrics.refused(refusal);
        }
        admitted
    }

    /// Whether a process of this machine asks that is the owner of the log, or may do all that the owner may.
    #[must_use]
    pub fn is_owner(&self, peer: Option<&Peer>) -> bool {
        matches!(peer, Some(Peer::Process { uid, .. }) if *uid == 0 || self.doors.unlimited.contains(uid))
    }

    /// Counts what was sent, once it is known.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`]: it is more than this submitter may send at once.
    pub fn charge(
        &self,
        admitted: &Admitted,
        entries: usize,
        bytes: usize,
        now: Duration,
    ) -> Result<(), Refusal> {
        let entries = u64::try_from(entries).unwrap_or(u64::MAX);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.check_size(admitted, bytes)?;
        let mut known = self.known();
        if let Some(allowance) = known.allowances.get_mut(&admitted.submitter) {
            allowance.spend(entries, bytes, now);
        }
        self.metrics.submitted(&admitted.submitter, entries, bytes);
        Ok(())
    }

    /// Whether a request of so many bytes, or one of which so many have come, may be read on.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`]: it is more than this submitter may send at once.
    pub fn check_size(&self, admitted: &Admitted, bytes: u64) -> Result<(), Refusal> {
        let allowances = &self.known().allowances;
        let limit = allowances.get(&admitted.submitter);
        let limit = limit.map_or(u64::MAX, Allowance::request_bytes);
        if bytes <= limit {
            return Ok(());
        }
        let refusal = Refusal::TooLarge {
            submitter: Arc::clone(&admitted.submitter),
            bytes,
            limit,
        };
        self.metrics.refused(&refusal);
        Err(refusal)
    }

    /// Who it is, and within which limits.
    fn identify(
        &self,
        peer: Option<&Peer>,
        authorization: Option<&[u8]>,
    ) -> Result<(Admitted, Option<Limits>), Refusal> {
        if let Some(bytes) = authorization {
            return self.by_token(bytes);
        }
        let plain = |name: &str, limits: Option<Limits>| {
            let submitter = Arc::from(name);
            Ok((
                Admitted {
                    submitter,
                    body: None,
                    is_unlimited: limits.is_none(),
                },
                limits,
            ))
        };
        match peer {
            Some(Peer::Process { uid, gid }) if !self.doors.token_on_socket => {
                let name = self.doors.users.get(uid);
                let name = name.or_else(|| self.doors.groups.get(gid));
                let limits = if self.doors.unlimited.contains(uid) {
                    None
                } else {
                    Some(self.doors.limits)
                };
                name.map_or(Err(Refusal::User { uid: *uid }), |name| plain(name, limits))
            }
            Some(Peer::Network {
                certificate: Some(certificate),
            }) => match self.doors.client(certificate) {
                Some(name) => plain(&name, Some(self.doors.limits)),
                None => Err(Refusal::NotKnown),
            },
            _ => Err(Refusal::NotKnown),
        }
    }

    fn by_token(&self, bytes: &[u8]) -> Result<(Admitted, Option<Limits>), Refusal> {
        let authorization = Authorization::decode(bytes).ok_or(Refusal::NotKnown)?;
        let granted = self.known().grants.get(&authorization.name).cloned();
        let granted = granted
            .filter(|granted| granted.grant.signed(&authorization))
            .ok_or(Refusal::NotKnown)?;
        let Challenge { boot_id, session } = authorization.challenge;
        let issued = self.next_session.load(Ordering::SeqCst);
        let mut known = self.known();
        // The file may have been read again since.
        let is_current = known.grants.get(&authorization.name) == Some(&granted);
        let is_fresh = boot_id == self.boot_id
            && session < issued
            && is_current
            && known
                .sessions
                .get_mut(&authorization.name)
                .is_some_and(|sessions| sessions.take(session, authorization.sequence));
        if !is_fresh {
            return Err(Refusal::Stale);
        }
        let admitted = Admitted {
            submitter: Arc::from(format!("token {}", authorization.name)),
            body: Some(authorization.body),
            is_unlimited: false,
        };
        Ok((admitted, Some(granted.limits.unwrap_or(self.doors.limits))))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing panics while it is held.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Doors {
    /// What the configuration calls the holder of a certificate.
    fn client(&self, certificate: &Certificate) -> Option<String> {
        self.clients.iter().find_map(|client| match client {
            Client::Name(name) if certificate.names.contains(name) => {
                Some(format!("certificate {name}"))
            }
            Client::Key(key) if *key == certificate.key => {
                let hex = data_encoding::HEXLOWER.encode(key);
                Some(format!("certificate sha256:{hex}"))
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests;
