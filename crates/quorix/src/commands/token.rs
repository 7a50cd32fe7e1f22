//! `quorix token generate`.

use std::io::ErrorKind;
use std::path::Path;

use quorix_wire::token::Token;

use super::key::write_secret;
use crate::output::{self, Exit, Failure};

/// Makes a token for one log; its secret goes into a file, the log's line to standard output.
pub(super) fn generate(log: &str, name: &str, file: &Path) -> Result<Exit, Failure> {
    let mut seed = [0_u8; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Failure::unknown(format!("no randomness from the system: {error}")))?;
    let token = Token::from_seed(log, name, seed).map_err(Failure::wrong)?;
    write_secret(file, &token.to_text()).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::wrong(format!(
            "{} exists already, and a token is never overwritten",
            file.display()
        )),
        _ => Failure::wrong(format!("{} was not made: {error}", file.display())),
    })?;
    output::remark(format_args!(
        "Wrote the secret to {}: it stays with the builder, as `token` in [builder]. The line for the log's token file:",
        file.display()
    ));
    output::answer(token.grant());
    Ok(Exit::Yes)
}
