//! Where a gRPC service is: a host and port, with TLS or without, or a Unix socket.
//!
//! Parses and prints addresses; resolves no names and opens nothing.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

const ADDRESS_MAX: usize = 1024;

/// Where a service listens or is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// `host:port`, an IPv6 address in brackets. Plain HTTP/2, without TLS.
    Tcp(String),
    /// The same over TLS; the host is the name in the server's certificate.
    Tls(String),
    /// An absolute path of a socket.
    Unix(PathBuf),
}

/// A text is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no address: {reason}", text.escape_debug())]
pub struct AddressError {
    /// The text, cut to 100 characters.
    pub text: String,
    /// What is wrong with it and what to write instead.
    pub reason: &'static str,
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads `unix:/path`, `host:port`, `http://host:port` or `https://host:port`.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let refused = |reason| AddressError {
            text: text.chars().take(100).collect(),
            reason,
        };
        if text.len() > ADDRESS_MAX || text.chars().any(|c| c.is_control() || c == ' ') {
            return Err(refused(
                "it is too long or has spaces or control characters",
            ));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if !path.starts_with('/') || path.ends_with('/') {
                return Err(refused("after `unix:` comes the absolute path of a socket"));
            }
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let (make, rest): (fn(String) -> Self, &str) = match text.strip_prefix("https://") {
            Some(rest) => (Self::Tls, rest),
            None => (Self::Tcp, text.strip_prefix("http://").unwrap_or(text)),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        check_authority(authority).map_err(refused)?;
        Ok(make(authority.to_owned()))
    }
}

fn check_authority(authority: &str) -> Result<(), &'static str> {
    const EXPECTED: &str = "expected `host:port`, `https://host:port` or `unix:/path`";
    let (host, port) = authority.rsplit_once(':').ok_or(EXPECTED)?;
    if port.is_empty()
        || !port.bytes().all(|byte| byte.is_ascii_digit())
        || port.parse::<u16>().is_err()
    {
        return Err("the port is a number from 0 to 65535");
    }
    if let Some(inner) = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        return inner
            .parse::<std::net::Ipv6Addr>()
            .map(|_| ())
            .map_err(|_| "in brackets stands an IPv6 address");
    }
    let permitted = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if host.is_empty() || !host.bytes().all(permitted) {
        return Err(EXPECTED);
    }
    Ok(())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(authority) => f.write_str(authority),
            Self::Tls(authority) => write!(f, "https://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_port_or_a_socket() {
        for (text, printed) in [
            ("127.0.0.1:8481", "127.0.0.1:8481"),
            ("http://log.example.org:80", "log.example.org:80"),
            ("http://log.example.org:80/", "log.example.org:80"),
            ("[::1]:0", "[::1]:0"),
            (
                "https://log.example.org:8482/",
                "https://log.example.org:8482",
            ),
            ("https://[::1]:443", "https://[::1]:443"),
            (
                "unix:/run/quorix/submit.sock",
                "unix:/run/quorix/submit.sock",
            ),
            (
                "unix:///run/quorix/submit.sock",
                "unix:/run/quorix/submit.sock",
            ),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), printed);
            assert_eq!(printed.parse(), Ok(address));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_to_write() {
        for text in [
            "",
            "localhost",
            ":80",
            "host:",
            "host:65536",
            "host:+1",
            "::1:80",
            "[x]:80",
            "user@host:80",
            "host:80/path",
            "ftp://host:80",
            "https://host",
            "https://host:443/path",
            "unix:run.sock",
            "unix:",
            "unix:/run/",
            "host :80",
            "ho\nst:80",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
        let error = "https://host".parse::<Address>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`https://host` is no address: expected `host:port`, `https://host:port` or `unix:/path`"
        );
    }
}
