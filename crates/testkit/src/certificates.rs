//! Certificates for TLS, made here: an authority, servers, clients, and some that have expired.
//!
//! Keys are random; nothing else about them is. They are valid from 1975 to 4096 unless they expired in 2020.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, PublicKeyData as _, date_time_ymd,
};
use sha2::{Digest as _, Sha256};

/// An authority that a test invents.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its secret key, both as PEM.
#[derive(Clone, Debug)]
pub struct Certified {
    /// The certificate.
    pub cert: String,
    /// Its secret key.
    pub key: String,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub key_digest: [u8; 32],
}

impl Authority {
    /// An authority with this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap());
        Self(issuer.unwrap())
    }

    /// Its certificate as PEM: what others believe.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// The certificate of a server that is called `localhost` and `127.0.0.1`.
    #[must_use]
    pub fn server(&self) -> Certified {
        self.certify(
            &["localhost", "127.0.0.1"],
            ExtendedKeyUsagePurpose::ServerAuth,
            false,
        )
    }

    /// The same, which expired in 2020.
    #[must_use]
    pub fn expired_server(&self) -> Certified {
        self.certify(
            &["localhost", "127.0.0.1"],
            ExtendedKeyUsagePurpose::ServerAuth,
            true,
        )
    }

    /// The certificate of a client with this DNS name.
    #[must_use]
    pub fn client(&self, name: &str) -> Certified {
        self.certify(&[name], ExtendedKeyUsagePurpose::ClientAuth, false)
    }

    /// The same, which expired in 2020.
    #[must_use]
    pub fn expired_client(&self, name: &str) -> Certified {
        self.certify(&[name], ExtendedKeyUsagePurpose::ClientAuth, true)
    }

    fn certify(
        &self,
        names: &[&str],
        usage: ExtendedKeyUsagePurpose,
        has_expired: bool,
    ) -> Certified {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![usage];
        if has_expired {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        Certified {
            cert: cert.pem(),
            key_digest: Sha256::digest(key.subject_public_key_info()).into(),
            key: key.serialize_pem(),
        }
    }
}
