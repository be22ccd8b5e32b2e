//! Addresses of servers, and paths below them. Both may come from a hostile file: nothing in them leads to another
//! server, or to another place on it, than they say.

use std::path::PathBuf;

use reqwest::Url;

use crate::keys::http;
pub(super) use crate::keys::said as cleaned;
use crate::keys::service::{Cause, ServiceError};

/// A server of Vault, or an agent in front of one.
#[derive(Clone, Debug)]
pub(super) struct Server {
    url: Url,
    socket: Option<PathBuf>,
}

impl Server {
    /// Reads an address that a document or a user named.
    pub fn parse(address: &str) -> Result<Self, ServiceError> {
        let refuse = |why: &str| {
            let detail = format!("the address {} {why}", shown(address));
            Err(ServiceError::new(Cause::Other, detail).with_remedy(EXPECTED))
        };
        let Ok(url) = Url::parse(address) else { return refuse("is no URL") };
        if !url.username().is_empty() || url.password().is_some() {
            // What stands there may be a secret.
            let detail = "an address of Vault names a user, which Vault knows nothing of";
            return Err(ServiceError::new(Cause::Other, detail).with_remedy(EXPECTED));
        }
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return refuse("is not one of HTTP");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return refuse("goes on after the path");
        }
        Ok(Self { url, socket: None })
    }

    /// Reads the address of an agent, which may be a socket.
    pub fn parse_agent(address: &str) -> Result<Self, ServiceError> {
        match address.strip_prefix("unix://") {
            Some(path) => Ok(Self { socket: Some(PathBuf::from(path)), ..Self::parse("http://localhost")? }),
            None => Self::parse(address),
        }
    }

    /// Returns the address as it is compared with those that are trusted: as it will be used.
    pub fn address(&self) -> &str {
        self.url.as_str()
    }

    /// Returns what the server is called in messages.
    pub fn name(&self) -> String {
        match &self.socket {
            Some(path) => format!("the agent at {}", cleaned(&path.display().to_string())),
            None => cleaned(self.url.as_str().trim_end_matches('/')),
        }
    }

    /// Returns the socket of the agent, if it is one.
    pub const fn socket(&self) -> Option<&PathBuf> {
        self.socket.as_ref()
    }

    /// Returns the host as URLs have it, and the port.
    pub fn host(&self) -> (&str, u16) {
        (self.url.host_str().unwrap_or_default(), self.url.port_or_known_default().unwrap_or_default())
    }

    /// Returns whether nobody on the way can read what is sent.
    pub fn is_private(&self) -> bool {
        self.url.scheme() == "https" || self.is_loopback()
    }

    /// Returns whether the server is on this machine.
    pub fn is_loopback(&self) -> bool {
        self.socket.is_some() || http::is_loopback(self.host().0)
    }

    /// Returns the URL of a path below the interface's root.
    pub fn url(&self, path: &str) -> Result<Url, ServiceError> {
        let mut url = self.url.clone();
        let parts = parts(path)?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(VERSION).extend(parts);
        }
        Ok(url)
    }

    /// Returns the server that a redirect leads to. It must be another one for the same thing.
    pub fn redirected(&self, from: &Url, location: &str) -> Result<Self, ServiceError> {
        let refuse = |why: &str| {
            let detail = format!("{} redirects the request {why}", self.name());
            ServiceError::new(Cause::Answer, detail)
        };
        let to = from.join(location).map_err(|_| refuse("to what is no URL"))?;
        if from.scheme() == "https" && to.scheme() != "https" {
            return Err(refuse("to where it would be read on the way"));
        }
        if to.path() != from.path() || to.query().is_some() {
            return Err(refuse("to another path"));
        }
        let mut root = to;
        root.set_path(self.url.path());
        let server = Self::parse(root.as_str())?;
        // What is on the same socket has no other address.
        let is_same = server.url == self.url;
        Ok(Self { socket: self.socket.clone().filter(|_| is_same), ..server })
    }
}

/// Returns the parts of a path that can be sent as it is meant.
fn parts(path: &str) -> Result<Vec<&str>, ServiceError> {
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    let is_hostile = |part: &&str| {
        matches!(*part, "." | "..") || part.chars().any(|letter| letter.is_control() || letter == '\\')
    };
    if parts.is_empty() || parts.iter().any(is_hostile) {
        let detail = format!("{} is no path of Vault", cleaned(path));
        return Err(ServiceError::new(Cause::Key, detail).with_remedy(NO_NAME));
    }
    Ok(parts)
}

/// Returns an address of Vault as people may see it: what stands in front of the host may be a secret.
#[must_use]
pub fn shown(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let host = rest[..end].rsplit_once('@').map_or(&rest[..end], |(_, host)| host);
    let front = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    cleaned(&format!("{front}{host}{}", &rest[end..]))
}

const EXPECTED: &str = "an address of Vault is one like `https://vault.example.com:8200`";

/// What to do about names that no key has.
pub(super) const NO_NAME: &str =
    "no key has such a name: somebody may have changed the file; look for an earlier version of it";

/// The version of the interface.
const VERSION: &str = "v1";

#[cfg(test)]
mod tests {
    use super::*;

    fn url(address: &str, path: &str) -> String {
        match Server::parse(address).and_then(|server| server.url(path)) {
            Ok(url) => url.to_string(),
            Err(error) => error.detail,
        }
    }

    #[test]
    fn paths_are_below_the_address() {
        for (address, path, expected) in [
            ("https://a:8200", "transit/encrypt/k", "https://a:8200/v1/transit/encrypt/k"),
            ("https://a/", "/a/b//c/decrypt/k/", "https://a/v1/a/b/c/decrypt/k"),
            ("http://[::1]:1/x/", "t/k", "http://[::1]:1/x/v1/t/k"),
        ] {
            assert_eq!(url(address, path), expected);
        }
    }

    #[test]
    fn no_path_leads_elsewhere() {
        for (path, expected) in [
            ("transit/decrypt/k?x=1", "https://a/v1/transit/decrypt/k%3Fx=1"),
            ("transit/decrypt/k#x", "https://a/v1/transit/decrypt/k%23x"),
            (
                "transit/decrypt/..%2f..%2fsys%2fseal",
                "https://a/v1/transit/decrypt/..%252f..%252fsys%252fseal",
            ),
            ("transit/decrypt/%2e%2e", "https://a/v1/transit/decrypt/%252e%252e"),
            ("transit/decrypt/ä b", "https://a/v1/transit/decrypt/%C3%A4%20b"),
            ("transit/../sys/seal", "transit/../sys/seal is no path of Vault"),
            ("transit/decrypt/.", "transit/decrypt/. is no path of Vault"),
            (r"transit/decrypt/..\..\sys", r"transit/decrypt/..\..\sys is no path of Vault"),
            ("transit/decrypt/k\r\nX: y", "transit/decrypt/k X: y is no path of Vault"),
            ("//", "// is no path of Vault"),
        ] {
            assert_eq!(url("https://a", path), expected);
        }
    }

    #[test]
    fn an_address_is_one_of_a_server_alone() {
        for (address, why) in [
            ("vault.example.com", "is no URL"),
            ("ftp://a", "is not one of HTTP"),
            ("https://vault@evil", "names a user"),
            ("https://:p@evil", "names a user"),
            ("https://a?x", "goes on after the path"),
            ("https://a#x", "goes on after the path"),
        ] {
            let error = Server::parse(address).expect_err(address);
            assert!(error.detail.contains(why), "{address}: {}", error.detail);
        }
        // Used as it is compared.
        let server = Server::parse(r"HTTPS://Vault.example.com:443\x").expect("an address");
        assert_eq!(server.address(), "https://vault.example.com/x");
    }

    #[test]
    fn who_can_listen_is_known() {
        for (address, is_private) in [
            ("https://a", true),
            ("http://127.0.0.2:8200", true),
            ("http://[::1]", true),
            ("http://localhost", true),
            ("http://localhost.evil.org", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(Server::parse(address).expect(address).is_private(), is_private, "{address}");
        }
        assert!(Server::parse_agent("unix:///run/agent.sock").expect("an agent").is_private());
    }

    #[test]
    fn redirects_are_for_the_same_thing() {
        let server = Server::parse("https://a:8200").expect("an address");
        let from = server.url("transit/decrypt/k").expect("a URL");
        let redirected = |location: &str| match server.redirected(&from, location) {
            Ok(server) => server.address().to_owned(),
            Err(error) => error.detail,
        };
        assert_eq!(redirected("https://b:8200/v1/transit/decrypt/k"), "https://b:8200/");
        assert!(redirected("http://b:8200/v1/transit/decrypt/k").ends_with("read on the way"));
        assert!(redirected("https://b:8200/v1/sys/seal").ends_with("to another path"));
        assert!(redirected("https://b:8200/v1/transit/decrypt/k?x").ends_with("to another path"));
        assert!(redirected("https://u@b:8200/v1/transit/decrypt/k").contains("names a user"));
    }

    #[test]
    fn an_address_is_shown_without_what_may_be_a_secret() {
        for (address, expected) in [
            ("https://vault:8200/x/", "https://vault:8200/x/"),
            ("https://user:secret@vault/x@y", "https://vault/x@y"),
            ("https://a@secret@vault", "https://vault"),
            ("user:secret@vault", "vault"),
        ] {
            assert_eq!(shown(address), expected);
        }
        let error = Server::parse("https://u:secret@vault:99999").expect_err("no port");
        assert_eq!(error.detail, "the address https://vault:99999 is no URL");
    }
}
