//! What the services of key kinds need from the program that they run in.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::Trust;

/// What the services of key kinds need from the program that they run in.
#[derive(Clone)]
pub struct KeySetup {
    variable: Arc<dyn Fn(&str) -> Option<String> + Send + Sync>,
    named: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    doubted: Arc<dyn Fn(&str) -> Option<String> + Send + Sync>,
    warnings: Arc<Warnings>,
    host: Arc<dyn Fn() -> Option<String> + Send + Sync>,
    is_isolated: bool,
    /// Which addresses of a document may be sent credentials.
    pub trust: Trust,
    /// What runs requests to servers.
    #[cfg(feature = "remote")]
    pub remote: Arc<super::Remote>,
}

/// Says each thing once.
struct Warnings {
    said: Mutex<HashSet<String>>,
    say: Box<dyn Fn(&str) + Send + Sync>,
}

impl KeySetup {
    /// Returns a setup that trusts no address of a document. `variable` returns a variable of the environment.
    pub fn new(variable: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self {
            variable: Arc::new(variable),
            named: Arc::new(Vec::new),
            doubted: Arc::new(|_| None),
            warnings: Arc::new(Warnings { said: Mutex::default(), say: Box::new(|_| {}) }),
            host: Arc::new(|| None),
            is_isolated: false,
            trust: Trust::Listed(Vec::new()),
            #[cfg(feature = "remote")]
            remote: Arc::default(),
        }
    }

    /// Says what returns the addresses that the user named, on the command line or in a configuration, rather than a
    /// document. It is asked whenever one matters, as they may become known in the course of a run.
    #[must_use]
    pub fn with_named(mut self, named: impl Fn() -> Vec<String> + Send + Sync + 'static) -> Self {
        self.named = Arc::new(named);
        self
    }

    /// Says what returns the path of a configuration that names an address and is not the user's own: it may have come
    /// with the document. Such an address is not admitted; people are told how to.
    #[must_use]
    pub fn with_doubted(mut self, doubted: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        self.doubted = Arc::new(doubted);
        self
    }

    /// Says who tells people what they should know.
    #[must_use]
    pub fn with_warnings(mut self, say: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.warnings = Arc::new(Warnings { said: Mutex::default(), say: Box::new(say) });
        self
    }

    /// Says how to find out what this machine is called.
    #[must_use]
    pub fn with_host(mut self, host: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        self.host = Arc::new(host);
        self
    }

    /// Says that the variables hold the credentials of somebody who must not use those of this program: whatever else
    /// the environment, the files or the machine would give is left alone.
    #[must_use]
    pub const fn isolated(mut self) -> Self {
        self.is_isolated = true;
        self
    }

    /// Returns whether nothing but the variables may give credentials.
    #[must_use]
    pub const fn is_isolated(&self) -> bool {
        self.is_isolated
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

    /// Returns whether the user named an address.
    #[must_use]
    pub fn is_named(&self, address: &str) -> bool {
        Trust::Listed((self.named)()).admits(address)
    }

    /// Returns whether an address may be sent credentials: it is trusted, or the user named it.
    #[must_use]
    pub fn admits(&self, address: &str) -> bool {
        self.trust.admits(address) || self.is_named(address)
    }

    /// Returns the path of a configuration that names an address and is not the user's own.
    #[must_use]
    pub fn doubted(&self, address: &str) -> Option<String> {
        (self.doubted)(address)
    }

    /// Tells people what they should know, unless they were told.
    pub fn warn(&self, text: &str) {
        let mut said = self.warnings.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.insert(text.to_owned()) {
            (self.warnings.say)(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_none() {
        let setup = KeySetup::new(|name| Some(if name == "A" { "a".to_owned() } else { String::new() }));
        assert_eq!((setup.variable("A").as_deref(), setup.variable("B")), (Some("a"), None));
    }

    #[test]
    fn what_the_user_named_is_admitted_as_soon_as_it_is_known() {
        let known = Arc::new(Mutex::new(Vec::new()));
        let named = Arc::clone(&known);
        let setup = KeySetup::new(|_| None).with_named(move || named.lock().expect("no panic").clone());
        assert!(!setup.admits("https://a"));
        known.lock().expect("no panic").push("https://a".to_owned());
        assert!(setup.admits("https://a/b") && setup.is_named("https://a") && !setup.admits("https://b"));
    }

    #[test]
    fn people_are_told_once() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&told);
        let setup = KeySetup::new(|_| None)
            .with_warnings(move |text| log.lock().expect("no panic").push(text.to_owned()));
        for text in ["a", "b", "a"] {
            setup.clone().warn(text);
        }
        assert_eq!(*told.lock().expect("no panic"), ["a", "b"]);
    }
}
