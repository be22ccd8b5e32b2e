//! What a run is asked for, out of the values of its flags.

use std::path::{Path, PathBuf};

use selkie::kubeseal::{Choices, Surroundings};
use selkie::sealed::SealingScope;

use super::grammar::Given;
use crate::cluster::{self, Overrides};
use crate::session::Session;

/// What a run is asked for.
pub(super) struct Options<'a> {
    pub allow_empty_data: bool,
    pub cert: Option<&'a str>,
    pub controller_name: &'a str,
    pub controller_namespace: &'a str,
    pub fetch_cert: bool,
    /// The name of the format, and whether somebody chose it.
    pub format: (&'a str, bool),
    pub from_file: &'a [String],
    pub merge_into: Option<&'a str>,
    pub name: Option<&'a str>,
    pub overrides: Overrides,
    pub private_keys: &'a [String],
    pub raw: bool,
    pub re_encrypt: bool,
    pub scope: SealingScope,
    pub sealed_secret_file: Option<&'a str>,
    pub secret_file: Option<&'a str>,
    pub unseal: bool,
    pub validate: bool,
}

/// The namespace in which a user works.
pub(super) enum Place {
    /// It was named for this run.
    Named(String),
    /// It is that of the configuration, if there is one.
    Configured(Option<String>),
}

impl<'a> Options<'a> {
    pub fn new(given: &'a Given) -> Self {
        Self {
            allow_empty_data: given.switch("allow-empty-data"),
            cert: given.given("cert"),
            controller_name: given.text("controller-name"),
            controller_namespace: given.text("controller-namespace"),
            fetch_cert: given.switch("fetch-cert"),
            format: (given.text("format"), given.is_given("format")),
            from_file: given.list("from-file"),
            merge_into: given.given("merge-into"),
            name: given.given("name"),
            overrides: overrides(given),
            private_keys: given.list("recovery-private-key"),
            raw: given.switch("raw"),
            re_encrypt: given.switch("re-encrypt"),
            // The grammar takes only names of scopes.
            scope: given.text("scope").parse().unwrap_or_default(),
            sealed_secret_file: given.given("sealed-secret-file"),
            secret_file: given.given("secret-file"),
            unseal: given.switch("recovery-unseal"),
            validate: given.switch("validate"),
        }
    }

    /// Returns the file that results go into. What is encrypted again replaces what it was read from.
    pub fn output_file(&self) -> Option<&'a str> {
        let replaced = self.secret_file.filter(|_| self.re_encrypt);
        self.sealed_secret_file.or(replaced)
    }

    /// Returns the name of the format of results: the name of a file may tell.
    pub fn output_format(&self) -> &'a str {
        let extension = self.output_file().and_then(|file| Path::new(file).extension()?.to_str());
        if matches!(extension, Some("yaml" | "yml")) { "yaml" } else { self.format.0 }
    }

    /// Returns the namespace in which the user works. That it cannot be told is no failure yet.
    pub fn place(&self, session: &Session) -> Place {
        match &self.overrides.namespace {
            Some(namespace) => Place::Named(namespace.clone()),
            None => Place::Configured(cluster::namespace(&self.overrides, session).ok().flatten()),
        }
    }

    /// Returns how Secrets are sealed.
    pub fn choices<'c>(&'c self, place: &'c Place) -> Choices<'c> {
        let surroundings = match place {
            Place::Named(namespace) => Surroundings::Named(namespace),
            Place::Configured(Some(namespace)) => Surroundings::Configured(namespace),
            Place::Configured(None) => Surroundings::Unknown,
        };
        Choices {
            allow_empty_data: self.allow_empty_data,
            name: self.name,
            namespace: None,
            surroundings,
            scope: self.scope,
        }
    }
}

fn overrides(given: &Given) -> Overrides {
    let text = |name: &str| given.given(name).map(str::to_owned);
    let path = |name: &str| given.given(name).map(PathBuf::from);
    let hidden = |name: &str| text(name).map(Into::into);
    Overrides {
        kubeconfig: path("kubeconfig"),
        context: text("context"),
        cluster: text("cluster"),
        user: text("user"),
        namespace: text("namespace"),
        server: text("server"),
        token: hidden("token"),
        username: text("username"),
        password: hidden("password"),
        impersonate: text("as"),
        impersonate_groups: given.list("as-group").to_vec(),
        impersonate_uid: text("as-uid"),
        client_certificate: path("client-certificate"),
        client_key: path("client-key"),
        certificate_authority: path("certificate-authority"),
        insecure_skip_tls_verify: given.is_on("insecure-skip-tls-verify"),
        tls_server_name: text("tls-server-name"),
        proxy_url: hidden("proxy-url"),
        disable_compression: given.is_on("disable-compression"),
        // Its default waits for ever, which no script wants: the client's own limit stands.
        request_timeout: text("request-timeout"),
    }
}
