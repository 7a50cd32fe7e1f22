//! What an operator may choose about attesting and flushing. The program fills it from its file.

use std::time::Duration;

/// The settings of a builder, without those that are paths and addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuilderConfig {
    /// Attest paths that this store does not call its own, as after a build on a remote machine. Whoever sets this
    /// vouches for those machines; the hook is the only sign that a path was built and not downloaded.
    pub include_remote_built: bool,
    /// Publish the list of what each build used, and not only its root.
    pub publish_inputs: bool,
    /// How often the outbox is looked into.
    pub poll_interval: Duration,
    /// The first pause after the log could not be reached; doubled each time.
    pub back_off_min: Duration,
    /// The longest pause.
    pub back_off_max: Duration,
    /// How often a job is tried that the store or the disk refuses, with the same pauses, before it is set aside.
    pub attempts_max: u32,
}

impl Default for BuilderConfig {
    fn default() -> Self {
        Self {
            include_remote_built: false,
            publish_inputs: true,
            poll_interval: Duration::from_secs(1),
            back_off_min: Duration::from_secs(1),
            back_off_max: Duration::from_secs(60),
            attempts_max: 100,
        }
    }
}
