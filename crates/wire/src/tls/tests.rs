//! What can be read as certificates and keys, and what is said about what cannot.

use quorix_testkit::certificates::Authority;

use super::*;

fn installed() {
    // Another test may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn a_certificate() -> (String, String) {
    let made = Authority::new("test").server();
    (made.cert, made.key)
}

#[test]
fn certificates_and_keys_are_read_from_pem_in_any_order() {
    let (cert, key) = a_certificate();
    let both = format!("{key}{cert}{cert}");
    let identity = Identity::from_pem(both.as_bytes(), both.as_bytes()).unwrap();
    assert_eq!(identity.chain.len(), 2);
    assert_eq!(certificates(both.as_bytes()).unwrap().len(), 2);
}

#[test]
fn a_file_without_what_is_needed_says_what_was_expected() {
    let (cert, key) = a_certificate();
    for none in ["", "nonsense", &key] {
        let error = certificates(none.as_bytes()).unwrap_err().to_string();
        assert!(
            error.starts_with("no certificate is in it: expected PEM"),
            "{error}"
        );
    }
    let error = Identity::from_pem(cert.as_bytes(), cert.as_bytes())
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .starts_with("no secret key is in it: expected PEM"),
        "{error}"
    );
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    installed();
    let ((cert, _), (_, other)) = (a_certificate(), a_certificate());
    let identity = Identity::from_pem(cert.as_bytes(), other.as_bytes()).unwrap();
    let error = ClientTls::new(&[], Some(identity)).unwrap_err();
    assert!(matches!(error, TlsError::Identity { .. }), "{error}");
}
