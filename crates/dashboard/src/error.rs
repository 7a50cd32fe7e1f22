//! Why the aggregator gave no answer. What a reader sees of it is `view::problem`.

/// Why the aggregator gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It cannot be reached.
    #[error("{0}")]
    Away(String),
    /// It did not answer in time.
    #[error("the aggregator did not answer within {} seconds", crate::service::PATIENCE.as_secs())]
    Slow,
    /// It says that the question is wrong.
    #[error("it says: {0}")]
    Refused(String),
    /// Its answer cannot be understood.
    #[error("{0}")]
    Broken(String),
}

impl SourceError {
    /// One word for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Away(_) => "away",
            Self::Slow => "slow",
            Self::Refused(_) => "refused",
            Self::Broken(_) => "broken",
        }
    }
}
