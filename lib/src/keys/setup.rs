//! What the services of key kinds need from the program that they run in.

use std::sync::Arc;

/// What the services of key kinds need from the program that they run in.
#[derive(Clone)]
pub struct KeySetup {
    variable: Arc<dyn Fn(&str) -> Option<String> + Send + Sync>,
    host: Arc<dyn Fn() -> Option<String> + Send + Sync>,
    /// Which addresses of a document may be sent credentials.
    pub trust: Trust,
    /// What runs requests to servers.
    #[cfg(feature = "remote")]
    pub remote: Arc<super::Remote>,
}

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

impl KeySetup {
    /// Returns a setup that trusts no address of a document. `variable` returns a variable of the environment.
    pub fn new(variable: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self {
            variable: Arc::new(variable),
            host: Arc::new(|| None),
            trust: Trust::Listed(Vec::new()),
            #[cfg(feature = "remote")]
            remote: Arc::default(),
        }
    }

    /// Says how to find out what this machine is called.
    pub fn set_host(&mut self, host: impl Fn() -> Option<String> + Send + Sync + 'static) {
        self.host = Arc::new(host);
    }

    /// Returns what this machine is called, empty if nobody knows.
    #[must_use]
    pub fn host(&self) -> String {
        (self.host)().unwrap_or_default()
    }

    /// Returns a variable of the environment, unless it is unset or empty.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }
}

impl Trust {
    /// Returns whether an address may be sent credentials.
    #[must_use]
    pub fn admits(&self, address: &str) -> bool {
        // A slash at the end of both: `https://a` must not admit `https://a.example.com`.
        let whole = |text: &str| format!("{}/", text.trim_end_matches('/'));
        match self {
            Self::All => true,
            Self::Listed(trusted) => {
                let address = whole(address);
                trusted.iter().any(|trusted| !trusted.is_empty() && address.starts_with(&whole(trusted)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_trusted_as_a_whole() {
        let trust =
            Trust::Listed(vec!["https://vault.example.com".into(), "http://a/b/".into(), String::new()]);
        for address in [
            "https://vault.example.com",
            "https://vault.example.com/",
            "https://vault.example.com/x",
            "http://a/b",
        ] {
            assert!(trust.admits(address), "{address}");
        }
        for address in [
            "https://vault.example.com.evil.org",
            "https://vault.example.com:1",
            "http://vault.example.com",
            "http://a/",
            "/",
            "",
        ] {
            assert!(!trust.admits(address), "{address}");
        }
        assert!(Trust::All.admits("http://anywhere"));
    }

    #[test]
    fn an_empty_variable_is_none() {
        let setup = KeySetup::new(|name| Some(if name == "A" { "a".to_owned() } else { String::new() }));
        assert_eq!((setup.variable("A").as_deref(), setup.variable("B")), (Some("a"), None));
    }
}
