//! Standard base64 with padding, in its one spelling.

use data_encoding::{BASE64, DecodeError, DecodeKind};

/// Decodes standard base64 (RFC 4648 §4), padded.
///
/// The library takes padded pieces behind one another (`QQ==QQ==`), so one value would have several
/// spellings, and a text that was signed could be changed. Here padding ends the text.
///
/// # Errors
/// Where the text is not base64, as an offset in bytes.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, DecodeError> {
    if let Some(position) = text.trim_end_matches('=').find('=') {
        let kind = DecodeKind::Padding;
        return Err(DecodeError { position, kind });
    }
    BASE64.decode(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::{DecodeError, DecodeKind, decode};

    #[test]
    fn padding_stands_at_the_end_only() {
        assert_eq!(decode("QQ=="), Ok(b"A".to_vec()));
        assert_eq!(decode("QUI="), Ok(b"AB".to_vec()));
        let refused = |position| {
            let kind = DecodeKind::Padding;
            Err(DecodeError { position, kind })
        };
        assert_eq!(decode("QQ==QQ=="), refused(2));
        assert_eq!(decode("QUI=QUJD"), refused(3));
        assert!(decode("QUJD====").is_err());
        assert!(decode("====").is_err());
    }

    #[test]
    fn bits_that_stand_for_nothing_are_zero() {
        assert!(decode("QR==").is_err());
    }
}
