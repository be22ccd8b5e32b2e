//! Which addresses may be sent credentials.
//!
//! Addresses come from files that anybody may have written. They are compared part by part, and one that has anything
//! in it that programs read in more than one way is no address at all.

/// Which of the addresses that a document names may be sent credentials.
///
/// A document can name any address: whoever decrypts it would send their token there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Every one, as sops does.
    All,
    /// Those that have one of these addresses in front: `https://vault.example.com` admits each path of that server.
    Listed(Vec<String>),
}

/// An address of a server, in the one form that can be compared.
#[derive(Debug, PartialEq, Eq)]
struct Address {
    scheme: String,
    host: String,
    port: Option<u16>,
    path: Vec<String>,
}

impl Trust {
    /// Returns whether an address may be sent credentials.
    #[must_use]
    pub fn admits(&self, address: &str) -> bool {
        match self {
            Self::All => true,
            Self::Listed(trusted) => Address::parse(address).is_some_and(|address| {
                trusted
                    .iter()
                    .filter_map(|text| Address::parse(text))
                    .any(|trusted| trusted.is_above(&address))
            }),
        }
    }
}

impl Address {
    /// Reads an address. One with a user, a query, an escape or a step upward in it is none.
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = split_port(authority)?;
        let scheme = scheme.to_ascii_lowercase();
        let default = match scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        let path: Vec<_> = path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let is_plain = is_made_of(&scheme, "+")
            && is_made_of(host.trim_start_matches('[').trim_end_matches(']'), "-._:")
            && path.iter().all(|part| is_made_of(part, "-._~") && part != "." && part != "..");
        let port = port.or(default);
        is_plain.then(|| Self { scheme, host: host.to_ascii_lowercase(), port, path })
    }

    /// Returns whether another address is this one, or below it.
    fn is_above(&self, other: &Self) -> bool {
        self.scheme == other.scheme
            && self.host == other.host
            && self.port == other.port
            && other.path.starts_with(&self.path)
    }
}

/// Returns the host and the port, if one is given.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let end_of_host = authority.rfind(']').unwrap_or(0);
    match authority[end_of_host..].rsplit_once(':') {
        None => Some((authority, None)),
        Some((_, port)) => {
            let host = &authority[..authority.len() - port.len() - 1];
            let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            // A colon within a name is part of an address without brackets, and no port.
            (is_number && (end_of_host > 0 || !host.contains(':')))
                .then(|| port.parse().ok())
                .flatten()
                .map(|port| (host, Some(port)))
        }
    }
}

/// Returns whether a text has letters, digits and these signs, and nothing else.
fn is_made_of(text: &str, signs: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || signs.contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(addresses: &[&str]) -> Trust {
        Trust::Listed(addresses.iter().map(|&address| address.to_owned()).collect())
    }

    #[test]
    fn an_address_is_trusted_as_a_whole() {
        let trust = trust(&["https://vault.example.com", "http://a/b/", "http://[::1]:8200", ""]);
        for address in [
            "https://vault.example.com",
            "https://vault.example.com/",
            "https://vault.example.com/x",
            "http://a/b",
            "http://[::1]:8200",
        ] {
            assert!(trust.admits(address), "{address}");
        }
        for address in [
            "https://vault.example.com.evil.org",
            "https://vault.example.com:1",
            "http://vault.example.com",
            "http://a/",
            "http://a/bc",
            "http://[::1]:8201",
            "http://[::1]",
            "/",
            "",
        ] {
            assert!(!trust.admits(address), "{address}");
        }
        assert!(Trust::All.admits("http://anywhere"));
    }

    #[test]
    fn the_same_address_may_be_written_in_several_ways() {
        let trust = trust(&["HTTPS://Vault.Example.com:443/", "http://a"]);
        for address in
            ["https://vault.example.com", "https://VAULT.example.com:443/v1", "http://a:80", "http://A/"]
        {
            assert!(trust.admits(address), "{address}");
        }
        assert!(!trust.admits("http://a:443"));
        assert!(!trust.admits("https://vault.example.com:80"));
    }

    #[test]
    fn what_programs_read_in_different_ways_is_not_trusted() {
        let trust = trust(&["https://vault.example.com", "https://vault.example.com/team"]);
        for address in [
            "https://vault.example.com@evil.org",
            "https://vault.example.com:443@evil.org",
            "https://evil.org/@vault.example.com",
            r"https://vault.example.com\@evil.org",
            r"https://evil.org\vault.example.com",
            "https://vault.example.com%2eevil.org",
            "https://vault.example.com%00.evil.org",
            "https://vault.example.com#@evil.org",
            "https://vault.example.com?@evil.org",
            "https://vault.example.com\n.evil.org",
            "https://vault.example.com\t",
            " https://vault.example.com",
            "https:///vault.example.com",
            "https:vault.example.com",
            "https://vault.example.com:",
            "https://vault.example.com:0443x",
            "https://vault.example.com:99999",
            "https://vault。example.com",
            "https://[vault.example.com",
            "//vault.example.com",
        ] {
            assert!(!trust.admits(address), "{address}");
        }
        let team = self::trust(&["https://vault.example.com/team"]);
        for address in [
            "https://vault.example.com/team/../other",
            "https://vault.example.com/team/%2e%2e/other",
            r"https://vault.example.com/team\..\other",
            "https://vault.example.com/other",
        ] {
            assert!(!team.admits(address), "{address}");
        }
    }
}
