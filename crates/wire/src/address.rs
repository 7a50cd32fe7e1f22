//! Where a gRPC service is: a host and port, or a Unix socket.
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

    /// Reads `unix:/path`, `host:port` or `http://host:port`.
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
        if text.starts_with("https://") {
            return Err(refused(
                "gRPC over TLS is not supported; use `unix:`, a tunnel or a trusted network",
            ));
        }
        let authority = text.strip_prefix("http://").unwrap_or(text);
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        check_authority(authority).map_err(refused)?;
        Ok(Self::Tcp(authority.to_owned()))
    }
}

fn check_authority(authority: &str) -> Result<(), &'static str> {
    const EXPECTED: &str = "expected `host:port` or `unix:/path`";
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
            "https://host:443",
            "unix:run.sock",
            "unix:",
            "unix:/run/",
            "host :80",
            "ho\nst:80",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
        let error = "https://host:443".parse::<Address>().unwrap_err();
        assert!(error.to_string().contains("TLS"), "{error}");
    }
}
