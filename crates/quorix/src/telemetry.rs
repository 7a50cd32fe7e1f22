//! Log lines on standard error, as text or JSON. `RUST_LOG` chooses what is said.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;

/// Starts telling. The second call in one process does nothing.
pub fn start(format: LogFormat, default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let _ = match format {
        LogFormat::Text => lines
            .with_target(false)
            .with_ansi(crate::output::has_viewer())
            .try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
}
