//! TLS as `[tls]` says: the certificate of the listeners, whom this process believes as a client, and channels.

use quorix_wire::address::Address;
use quorix_wire::channel;
use quorix_wire::tls::{ClientTls, Identity, TlsError, certificates};
use tonic::transport::Channel;

use super::Start;
use crate::config::TlsSection;
use crate::listen::tls::{ServerTls, read};
use crate::output::Failure;
use crate::reload::LookedAt;

/// Reads the certificate of the listeners, if there is one, and has it read again when it changes.
///
/// # Errors
/// A file cannot be used.
pub fn start(start: &mut Start<'_>) -> Result<(), Failure> {
    let before = LookedAt::now(ServerTls::files(&start.config.tls));
    let tls = ServerTls::open(&start.config.tls)?;
    if let Some(tls) = &tls {
        let again = tls.clone();
        start
            .reload
            .watch("the certificate", before, move || again.reload());
    }
    start.tls = tls;
    Ok(())
}

/// Whom this process believes as a client, and who it says it is.
///
/// # Errors
/// A file cannot be used.
pub fn client(section: &TlsSection) -> Result<ClientTls, Failure> {
    let ca = match &section.ca {
        None => Vec::new(),
        Some(file) => certificates(&read(file).map_err(Failure::wrong)?)
            .map_err(|error| Failure::wrong(format!("{}: {error}", file.display())))?,
    };
    let identity = match (&section.client_cert, &section.client_key) {
        (Some(cert), Some(key)) => {
            let pem = |file| read(file).map_err(Failure::wrong);
            let identity = Identity::from_pem(&pem(cert)?, &pem(key)?);
            Some(identity.map_err(|error| {
                let file = if matches!(error, TlsError::NoKey { .. }) {
                    key
                } else {
                    cert
                };
                Failure::wrong(format!("{}: {error}", file.display()))
            })?)
        }
        _ => None,
    };
    ClientTls::new(&ca, identity).map_err(|error| Failure::wrong(format!("[tls]: {error}")))
}

/// A channel to a service, with TLS where the address has it.
///
/// # Errors
/// The address or a file of `[tls]` cannot be used.
pub fn channel(address: &Address, section: &TlsSection) -> Result<Channel, Failure> {
    let tls = match address {
        Address::Tls(_) => Some(client(section)?),
        Address::Tcp(_) | Address::Unix(_) => None,
    };
    channel::connect_with(address, tls.as_ref()).map_err(Failure::wrong)
}
