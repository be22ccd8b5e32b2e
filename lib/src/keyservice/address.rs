//! Where a key service listens.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a key service listens: `tcp://HOST:PORT`, or `unix:///PATH`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A port of TCP.
    Tcp {
        /// The host, by its name or number; that of IPv6 without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Unix {
        /// The path of the socket.
        path: PathBuf,
        /// The users that may be at the other side, by their numbers, besides root and whoever runs this process:
        /// `unix:///PATH?uid=NUMBER`, more than once for several.
        users: Vec<u32>,
    },
}

/// A text that is no address of a key service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the address of a key service, such as tcp://host:5000 or unix:///path/to/socket")]
pub struct AddressError {
    /// The text.
    pub text: String,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let address = match text.trim().split_once(':') {
            Some(("tcp", rest)) => tcp(rest),
            Some(("unix", rest)) => unix(rest),
            _ => None,
        };
        address.ok_or_else(|| AddressError { text: text.to_owned() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(formatter, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(formatter, "tcp://{host}:{port}"),
            Self::Unix { path, .. } => write!(formatter, "unix://{}", path.display()),
        }
    }
}

fn tcp(rest: &str) -> Option<Address> {
    let place = rest.strip_prefix("//")?;
    let place = place.strip_suffix('/').unwrap_or(place);
    let (host, port) = place.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(number) => number.strip_suffix(']').filter(|number| number.contains(':'))?,
        None if host.contains(':') => return None,
        None => host,
    };
    let is_name = |letter: char| letter.is_alphanumeric() || ".-_:%".contains(letter);
    let is_host = !host.is_empty() && host.chars().all(is_name);
    (is_host && port.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| Some(Address::Tcp { host: host.to_owned(), port: port.parse().ok()? }))?
}

/// Reads `///PATH`, or a path alone, which may be relative.
fn unix(rest: &str) -> Option<Address> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = match path.strip_prefix("//") {
        // What stands between two and three slashes would be a host.
        Some(path) => path.starts_with('/').then_some(path)?,
        None => path,
    };
    let user = |item: &str| item.strip_prefix("uid=")?.parse().ok();
    let users = query.split('&').filter(|item| !item.is_empty()).map(user).collect::<Option<_>>()?;
    let is_path = !path.trim_matches('/').is_empty() && !path.contains('\0');
    is_path.then(|| Address::Unix { path: path.into(), users })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        text.parse().ok().map(|address: Address| address.to_string())
    }

    #[test]
    fn addresses_are_those_of_tcp_and_of_unix_sockets() {
        for (text, expected) in [
            ("tcp://127.0.0.1:5000", "tcp://127.0.0.1:5000"),
            ("tcp://my-server.example.com:5000/", "tcp://my-server.example.com:5000"),
            ("tcp://[::1]:5000", "tcp://[::1]:5000"),
            (" unix:///tmp/sops.sock ", "unix:///tmp/sops.sock"),
            ("unix:/tmp/sops.sock", "unix:///tmp/sops.sock"),
            ("unix:sops.sock", "unix://sops.sock"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "tcp",
            "tcp:127.0.0.1:5000",
            "tcp://127.0.0.1",
            "tcp://:5000",
            "tcp://host:+5",
            "tcp://host:70000",
            "tcp://::1:5000",
            "tcp://user:word@host:5000",
            "tcp://host:5000/path",
            "http://host:5000",
            "unix://",
            "unix:///",
            "unix://host/path",
            "unix:///a?uid=x",
            "unix:///a?user=1",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_may_name_users() {
        let address = "unix:///a?uid=1000&uid=0".parse();
        assert_eq!(address, Ok(Address::Unix { path: "/a".into(), users: vec![1000, 0] }));
    }
}
