//! TLS as a client: whose certificates are believed, and the certificate to show where one is asked for.
//!
//! One setting for gRPC and for fetching by HTTP. Believed are the roots of this machine (as `SSL_CERT_FILE` and
//! `SSL_CERT_DIR` say, where they are set) and, besides, the ones that are given. Opens no file of its own.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// The most bytes of a PEM file: more than any chain has, and enough for a whole store of roots.
pub const PEM_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why TLS cannot be set up. Says nothing of a key but that it is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The program installed none at its start.
    #[error("no rustls provider is installed")]
    NoProvider,
    /// A text is no PEM, or has no certificate in it.
    #[error(
        "no certificate is in it: expected PEM, with lines `-----BEGIN CERTIFICATE-----` ({reason})"
    )]
    NoCertificate {
        /// What the parser said.
        reason: String,
    },
    /// A text has no secret key in it.
    #[error(
        "no secret key is in it: expected PEM, with a line `-----BEGIN PRIVATE KEY-----` ({reason})"
    )]
    NoKey {
        /// What the parser said.
        reason: String,
    },
    /// A certificate is none that can be a root.
    #[error("certificate {position} cannot be a root: {reason}")]
    BadRoot {
        /// Which certificate of the file, from 1.
        position: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificate and key are unusable, or not of one another.
    #[error("certificate and key do not go together: {reason}")]
    Identity {
        /// What is wrong with them.
        reason: String,
    },
}

/// Whom a client believes, and who it says it is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
}

/// A certificate with its chain, and its secret key.
pub struct Identity {
    /// The certificate, then those that lead to a root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the first.
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads both from PEM.
    ///
    /// # Errors
    /// Either is missing. Whether they belong together is found where they are used.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::NoKey {
            reason: error.to_string(),
        })?;
        Ok(Self { chain, key })
    }
}

impl ClientTls {
    /// The roots of this machine and those in `ca`; `identity` is shown to servers that ask who this is. Reads the
    /// system's certificates.
    ///
    /// # Errors
    /// A certificate or key cannot be used, or no provider is installed. A machine without roots is no error: it
    /// believes nobody but `ca`.
    pub fn new(
        ca: &[CertificateDer<'static>],
        identity: Option<Identity>,
    ) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            tracing::debug!("certificates of this machine: {error}");
        }
        roots.add_parsable_certificates(system.certs);
        if roots.is_empty() && ca.is_empty() {
            tracing::warn!(
                "no root certificates are on this machine: https:// will not work without `ca` in [tls]"
            );
        }
        add_roots(&mut roots, ca)?;
        let config = ClientConfig::builder_with_provider(provider()?)
            .with_safe_default_protocol_versions()
            .map_err(|error| identity_error(&error))?
            .with_root_certificates(roots);
        let config = match identity {
            None => config.with_no_client_auth(),
            Some(Identity { chain, key }) => config
                .with_client_auth_cert(chain, key)
                .map_err(|error| identity_error(&error))?,
        };
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// For a protocol: `h2` for gRPC, `h2` or `http/1.1` for fetching.
    pub(crate) fn speaking(&self, protocols: &[&str]) -> ClientConfig {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        config
    }
}

/// The provider that the program installed.
///
/// # Errors
/// There is none.
pub fn provider() -> Result<Arc<CryptoProvider>, TlsError> {
    CryptoProvider::get_default()
        .cloned()
        .ok_or(TlsError::NoProvider)
}

/// All certificates of a PEM text, at least one.
///
/// # Errors
/// It is no PEM, or has none.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let none = |reason: String| TlsError::NoCertificate { reason };
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| none(error.to_string()))?;
    if found.is_empty() {
        return Err(none("nothing of that kind was found".to_owned()));
    }
    Ok(found)
}

/// Adds certificates of authorities to a store, each of them or none.
///
/// # Errors
/// The first that cannot be a root.
pub fn add_roots(
    roots: &mut RootCertStore,
    certificates: &[CertificateDer<'static>],
) -> Result<(), TlsError> {
    for (index, certificate) in certificates.iter().enumerate() {
        roots
            .add(certificate.clone())
            .map_err(|error| TlsError::BadRoot {
                position: index.saturating_add(1),
                reason: error.to_string(),
            })?;
    }
    Ok(())
}

fn identity_error(error: &rustls::Error) -> TlsError {
    TlsError::Identity {
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
