//! Passphrases, from gpg-agent or from the person at the terminal.

use selkie::keys::age::{PassphrasePurpose, PassphraseRequest, Prompt, PromptError};
use selkie::secret::SecretBytes;

use super::gpg_agent::{Agent, AgentError};
use super::terminal::Terminal;
use crate::session::Environment;

/// Asks gpg-agent where sops does, so that both share what it keeps, and else the terminal.
pub struct Passphrases {
    environment: Environment,
    terminal: Terminal,
}

impl Passphrases {
    /// Returns passphrases for a run with this environment.
    #[must_use]
    pub fn new(environment: &Environment) -> Self {
        Self { environment: environment.clone(), terminal: Terminal::default() }
    }
}

impl Prompt for Passphrases {
    fn passphrase(&self, request: &PassphraseRequest<'_>) -> Result<SecretBytes, PromptError> {
        let description = match request.purpose {
            PassphrasePurpose::IdentityFile => format!("Enter passphrase for identity '{}':", request.name),
            PassphrasePurpose::Plugin => request.name.to_owned(),
            PassphrasePurpose::SshKey => format!("Enter passphrase for {:?}:", request.name),
        };
        let again = request.attempt > 1;
        let agent = request.cache_id.and_then(|id| Some((id, Agent::connect(&self.environment)?)));
        if let Some((cache_id, mut agent)) = agent {
            match agent.passphrase(cache_id, &description, again) {
                Ok(passphrase) if !passphrase.is_empty() => return Ok(passphrase),
                Ok(_) | Err(AgentError::Cancelled) => {
                    return Err(PromptError("a passphrase is needed: cancelled".to_owned()));
                }
                // An agent without a pinentry cannot ask; the terminal may.
                Err(AgentError::Failed(_)) => {}
            }
        }
        // The pager of Git, which this runs below, would take what is typed.
        if self.environment.get("GIT_PAGER_IN_USE").is_some() {
            return Err(PromptError("a passphrase is needed, and a pager has the terminal".to_owned()));
        }
        let notice = if again { "Wrong passphrase, try again.\n" } else { "" };
        self.terminal
            .secret(&format!("{notice}{description} "))
            .map_err(|error| PromptError(format!("a passphrase is needed: {error}")))
    }

    fn forget(&self, request: &PassphraseRequest<'_>) {
        let Some(cache_id) = request.cache_id else { return };
        if let Some(mut agent) = Agent::connect(&self.environment) {
            agent.forget(cache_id);
        }
    }

    fn show(&self, message: &str) {
        self.terminal.show(message);
    }

    fn confirm(&self, message: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        let choice = match no {
            Some(no) => format!("{message} (1 for {yes:?}, 2 for {no:?}): "),
            None => format!("{message} (press enter for {yes:?}) "),
        };
        loop {
            let answer = self.terminal.line(&choice).ok()?;
            match (answer.trim(), no) {
                ("1", Some(_)) | (_, None) => return Some(true),
                ("2", Some(_)) => return Some(false),
                _ => {}
            }
        }
    }

    fn value(&self, message: &str) -> Option<String> {
        self.terminal.line(&format!("{message} ")).ok()
    }
}
