//! age plugins: programs called `age-plugin-NAME` that wrap and unwrap file keys, often by hardware.

use std::sync::Arc;

use ::age::plugin::{Identity, IdentityPluginV1, Recipient, RecipientPluginV1, ResolveError};
use ::age::secrecy::SecretString;
use ::age::{Callbacks, Identity as _};
use age_core::format::{FileKey, Stanza};

use super::prompt::{PassphrasePurpose, PassphraseRequest, Prompt};
use super::{problem_of, recipient};
use crate::secret::SecretBytes;

/// Returns an armored age file for what the plugin makes of the recipient.
pub(super) fn encrypt(
    recipient: &Recipient,
    secret: &SecretBytes,
    prompt: &Arc<dyn Prompt>,
) -> Result<String, String> {
    let callbacks = Questions(Arc::clone(prompt));
    let plugin = RecipientPluginV1::new(recipient.plugin(), std::slice::from_ref(recipient), &[], callbacks)
        .map_err(|error| resolve_problem(&error))?;
    recipient::encrypt(&plugin, secret)
}

/// Lets the plugin of the identity try the stanzas.
pub(super) fn unwrap_stanzas(
    identity: &Identity,
    stanzas: &[Stanza],
    prompt: &Arc<dyn Prompt>,
) -> Option<Result<FileKey, String>> {
    let callbacks = Questions(Arc::clone(prompt));
    match IdentityPluginV1::new(identity.plugin(), std::slice::from_ref(identity), callbacks) {
        Ok(plugin) => Some(plugin.unwrap_stanzas(stanzas)?.map_err(|error| problem_of(&error))),
        Err(error) => Some(Err(resolve_problem(&error))),
    }
}

fn resolve_problem(error: &ResolveError) -> String {
    match error {
        ResolveError::MissingPlugin { binary_name } => {
            format!("the program {binary_name} is not on the search path")
        }
        ResolveError::InvalidPluginName { name } => format!("{name:?} cannot be the name of a plugin"),
        error => super::plain(error),
    }
}

/// Puts the questions of plugins to a [`Prompt`].
#[derive(Clone)]
struct Questions(Arc<dyn Prompt>);

impl Callbacks for Questions {
    fn display_message(&self, message: &str) {
        self.0.show(message);
    }

    fn confirm(&self, message: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        self.0.confirm(message, yes, no)
    }

    fn request_public_string(&self, description: &str) -> Option<String> {
        self.0.value(description)
    }

    fn request_passphrase(&self, description: &str) -> Option<SecretString> {
        let purpose = PassphrasePurpose::Plugin;
        let request = PassphraseRequest { purpose, name: description, cache_id: None, attempt: 1 };
        match self.0.passphrase(&request) {
            Ok(passphrase) => super::secret_string(&passphrase),
            // The plugin is told that it gets no answer; why, it cannot pass on.
            Err(error) => {
                self.0.show(&error.to_string());
                None
            }
        }
    }
}
