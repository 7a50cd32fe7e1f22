//! The certificate of this process, and whose certificates its clients may show.
//!
//! Read at the start and again when asked to, all files or none: what cannot be used changes nothing. Sessions are not
//! resumed, so a certificate that is no longer accepted ends with its connection.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use quorix_log::access::Certificate;
use quorix_wire::tls::{Identity, PEM_BYTES_MAX, TlsError, add_roots, certificates, provider};
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;

use crate::config::TlsSection;
use crate::output::Failure;

/// Which certificates a listener asks its clients for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// None.
    Everyone,
    /// One of `client_ca`, or none; the service decides what it means.
    MayBeKnown,
    /// One of `client_ca`; the handshake fails without.
    Known,
}

/// The server side of TLS, current as of the last good reading of its files.
pub struct ServerTls {
    files: Files,
    current: RwLock<Arc<Settings>>,
}

struct Files {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// One for each kind of [`Clients`]. Without `client_ca` nobody is known.
struct Settings {
    everyone: ServerConfig,
    may_be_known: ServerConfig,
    known: Option<ServerConfig>,
}

impl ServerTls {
    /// Reads the files, if there are any in the section.
    ///
    /// # Errors
    /// A file cannot be read, or its contents cannot be used.
    pub fn open(section: &TlsSection) -> Result<Option<Arc<Self>>, Failure> {
        let (Some(cert), Some(key)) = (&section.cert, &section.key) else {
            return Ok(None);
        };
        let files = Files {
            cert: cert.clone(),
            key: key.clone(),
            client_ca: section.client_ca.clone(),
        };
        let current = RwLock::new(Arc::new(files.read().map_err(Failure::wrong)?));
        Ok(Some(Arc::new(Self { files, current })))
    }

    /// The files that it is read from.
    pub fn files(section: &TlsSection) -> Vec<PathBuf> {
        [&section.cert, &section.key, &section.client_ca]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Reads the files again. Open connections stay as they are.
    ///
    /// # Errors
    /// What is wrong with them; the old ones stay in use.
    pub fn reload(&self) -> Result<(), String> {
        let new = Arc::new(self.files.read()?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// What shakes hands with the next client.
    ///
    /// # Errors
    /// Clients must be known, and there is no authority that knows any.
    pub(super) fn acceptor(
        &self,
        clients: Clients,
        protocols: &[&str],
    ) -> std::io::Result<TlsAcceptor> {
        let settings = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        let config = match clients {
            Clients::Everyone => Some(&settings.everyone),
            Clients::MayBeKnown => Some(&settings.may_be_known),
            Clients::Known => settings.known.as_ref(),
        };
        let mut config = config
            .cloned()
            .ok_or_else(|| std::io::Error::other("[tls] has no client_ca"))?;
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl Files {
    fn read(&self) -> Result<Settings, String> {
        let identity = Identity::from_pem(&read(&self.cert)?, &read(&self.key)?);
        let identity = identity.map_err(|error| match error {
            TlsError::NoKey { .. } => format!("{}: {error}", self.key.display()),
            _ => format!("{}: {error}", self.cert.display()),
        })?;
        let everyone = self.server(&identity, WebPkiClientVerifier::no_client_auth())?;
        let Some(file) = &self.client_ca else {
            return Ok(Settings {
                may_be_known: everyone.clone(),
                everyone,
                known: None,
            });
        };
        let roots = Arc::new(authorities(file)?);
        let verifier = || {
            let provider = provider().map_err(|error| error.to_string())?;
            Ok::<_, String>(WebPkiClientVerifier::builder_with_provider(
                Arc::clone(&roots),
                provider,
            ))
        };
        let unusable = |error: VerifierBuilderError| format!("{}: {error}", file.display());
        let optional = verifier()?.allow_unauthenticated().build();
        let required = verifier()?.build();
        Ok(Settings {
            everyone,
            may_be_known: self.server(&identity, optional.map_err(unusable)?)?,
            known: Some(self.server(&identity, required.map_err(unusable)?)?),
        })
    }

    fn server(
        &self,
        identity: &Identity,
        clients: Arc<dyn ClientCertVerifier>,
    ) -> Result<ServerConfig, String> {
        let unusable = |error: rustls::Error| {
            format!(
                "the certificate in {} and the key in {} do not go together: {error}",
                self.cert.display(),
                self.key.display()
            )
        };
        let provider = provider().map_err(|error| error.to_string())?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_client_cert_verifier(clients)
            .with_single_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(unusable)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

/// What a verified certificate says of its holder.
pub(super) fn certificate(der: &CertificateDer<'_>) -> std::io::Result<Certificate> {
    let parsed = webpki::EndEntityCert::try_from(der).map_err(std::io::Error::other)?;
    let names = parsed.valid_dns_names().chain(parsed.valid_uri_names());
    Ok(Certificate {
        names: names.map(str::to_owned).collect(),
        key: Sha256::digest(parsed.subject_public_key_info()).into(),
    })
}

fn authorities(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    certificates(&read(file)?)
        .and_then(|certificates| add_roots(&mut roots, &certificates))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(roots)
}

/// Reads a PEM file.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("{} cannot be read: {error}", file.display());
    if std::fs::metadata(file).map_err(unreadable)?.len() > PEM_BYTES_MAX {
        return Err(format!(
            "{} has more than {PEM_BYTES_MAX} bytes, too many for certificates",
            file.display()
        ));
    }
    std::fs::read(file).map_err(unreadable)
}
