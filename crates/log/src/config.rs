//! What one log is told at its start, and the limits of what it takes.
//!
//! The limits are part of the contract of `LogService.Submit`; the queue sizes are this host's own affair.

use std::time::Duration;

/// Most entries of one request.
pub const ENTRIES_PER_REQUEST_MAX: usize = 1_024;

/// Most bytes of one request, entries and blobs together.
pub const REQUEST_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Most leaves that the retractions of one request withdraw together: each is looked up in order.
pub const WITHDRAWN_PER_REQUEST_MAX: usize = 4_096;

/// How one log runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Name of the log, and of its key.
    pub origin: String,
    /// Requests that may wait for the sequencer; more are told to come back later.
    pub queue_requests: usize,
    /// Bytes of requests that may wait for the sequencer or be in its hands; at least [`REQUEST_BYTES_MAX`].
    pub queue_bytes: usize,
    /// Entries after which a commit takes no further request.
    pub commit_entries: usize,
    /// Bytes after which a commit takes no further request.
    pub commit_bytes: usize,
    /// How long a submitter waits for its answer. Its entries stay; it may ask for them again.
    pub acknowledge_within: Duration,
    /// Pause before storage that failed, or witnesses that did not cosign, are tried again; each further one is twice as
    /// long, up to 30 and 10 seconds.
    pub retry_pause: Duration,
    /// Durable entries that may wait for witnesses; beyond it nothing more is taken.
    pub unpublished_entries: u64,
    /// How long one attempt to have a checkpoint cosigned may take.
    pub cosign_within: Duration,
    /// With witnesses: after how long without news the newest checkpoint is cosigned and published again.
    pub republish: Duration,
}

impl LogConfig {
    /// The log of this name, with queues for a small machine.
    #[must_use]
    pub fn new(origin: impl Into<String>) -> Self {
        Self {
            origin: origin.into(),
            queue_requests: 256,
            queue_bytes: 3 * REQUEST_BYTES_MAX,
            commit_entries: 16_384,
            commit_bytes: REQUEST_BYTES_MAX,
            acknowledge_within: Duration::from_secs(30),
            retry_pause: Duration::from_millis(200),
            unpublished_entries: 1 << 18,
            cosign_within: Duration::from_secs(10),
            republish: Duration::from_secs(600),
        }
    }
}
