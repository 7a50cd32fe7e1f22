//! Where a role listens: `host:port`, `tls://host:port` or `unix:/path`, one of them or a list.
//!
//! Parses and prints; resolves no names and binds nothing.

use std::fmt;
use std::str::FromStr;

use quorix_wire::address::Address;
use serde::Deserialize;

/// The most addresses of one key.
const LISTENERS_MAX: usize = 8;

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// TCP without TLS: `host:port`, an IPv6 address in brackets.
    Plain(String),
    /// TCP with the certificate of `[tls]`: `tls://host:port`.
    Tls(String),
    /// A socket file: `unix:/path`. For gRPC only.
    Unix(std::path::PathBuf),
}

impl Listen {
    /// What is said where this address under this key needs a certificate and there is none.
    #[must_use]
    pub fn without_certificate(&self, key: &str) -> String {
        format!("{key}: `{self}` needs a certificate; add [tls] with `cert` and `key`")
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |text: &str| text.parse::<Address>().map_err(|error| error.to_string());
        if let Some(rest) = text.strip_prefix("tls://") {
            return match parse(rest)? {
                Address::Tcp(host) if !rest.contains("://") => Ok(Self::Tls(host)),
                _ => Err(format!(
                    "`{}` is no address: after `tls://` comes `host:port`",
                    text.escape_debug()
                )),
            };
        }
        match parse(text)? {
            Address::Tcp(host) => Ok(Self::Plain(host)),
            Address::Unix(path) => Ok(Self::Unix(path)),
            Address::Tls(host) => Err(format!(
                "`https://{host}` is where a client asks; a listener is written `tls://{host}`"
            )),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(host) => f.write_str(host),
            Self::Tls(host) => write!(f, "tls://{host}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One address, or a list of 1 to 8.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Texts")]
pub struct Listens(Vec<Listen>);

impl Listens {
    /// Only this one.
    #[must_use]
    pub fn one(listen: Listen) -> Self {
        Self(vec![listen])
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Listen> {
        self.0.iter()
    }

    /// Where a client on this machine asks: the first that needs no certificate.
    #[must_use]
    pub fn local(&self) -> Option<Address> {
        self.iter().find_map(|listen| match listen {
            Listen::Plain(host) => Some(Address::Tcp(host.clone())),
            Listen::Unix(path) => Some(Address::Unix(path.clone())),
            Listen::Tls(_) => None,
        })
    }
}

impl fmt::Display for Listens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, listen) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{listen}")?;
        }
        Ok(())
    }
}

/// What stands in the file.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected an address or a list of addresses")]
enum Texts {
    One(String),
    Many(Vec<String>),
}

impl TryFrom<Texts> for Listens {
    type Error = String;

    fn try_from(texts: Texts) -> Result<Self, String> {
        let texts = match texts {
            Texts::One(text) => vec![text],
            Texts::Many(texts) => texts,
        };
        if texts.is_empty() || texts.len() > LISTENERS_MAX {
            return Err(format!(
                "{} addresses: it must be 1 to {LISTENERS_MAX}",
                texts.len()
            ));
        }
        let parsed = texts.iter().map(|text| text.parse());
        parsed.collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_plain_or_has_tls_or_is_a_socket() {
        for text in [
            "127.0.0.1:8481",
            "localhost:8481",
            "[::]:8480",
            "tls://0.0.0.0:8482",
            "tls://[::1]:8482",
            "unix:/run/quorix/submit.sock",
        ] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_listener_is_refused_with_what_to_write() {
        let refused = |text: &str| text.parse::<Listen>().unwrap_err();
        assert_eq!(
            refused("https://0.0.0.0:443"),
            "`https://0.0.0.0:443` is where a client asks; a listener is written `tls://0.0.0.0:443`"
        );
        for text in [
            "tls://unix:/run/x.sock",
            "tls://http://host:1",
            "tls://https://host:1",
        ] {
            assert!(
                refused(text).ends_with("after `tls://` comes `host:port`"),
                "{text}"
            );
        }
        assert!(refused("nowhere").starts_with("`nowhere` is no address: "));
        assert!(refused("tls://nowhere").starts_with("`nowhere` is no address: "));
    }

    #[test]
    fn a_client_of_this_machine_asks_where_no_certificate_is_needed() {
        let listens = |text: &str| toml::Value::try_from(text).unwrap().try_into::<Listens>();
        assert_eq!(listens("tls://127.0.0.1:1").unwrap().local(), None);
        let list = toml::Value::Array(vec!["tls://[::]:1".into(), "unix:/run/s".into()]);
        let local = list.try_into::<Listens>().unwrap().local();
        assert_eq!(local, Some(Address::Unix("/run/s".into())));
    }
}
