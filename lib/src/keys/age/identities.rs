//! Where identities come from, and the search for the one that fits.
//!
//! Sources are read when they are needed and not before: what costs nothing comes first, then what
//! runs a command, then what asks a person. What a source gave is kept for the next document.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ::age::DecryptError;
use age_core::format::{FileKey, Stanza};

use super::identity::{self, Identity, IdentityLayout, IdentityParseError};
use super::prompt::Prompt;
use crate::keys::{IdentityProblem, IdentityReport};
use crate::secret::SecretBytes;

/// The identities at hand, by their sources.
#[derive(Default)]
pub struct Identities {
    sources: Vec<IdentitySource>,
}

/// A place where identities may be found. It is read when it is needed.
pub struct IdentitySource {
    name: String,
    layout: IdentityLayout,
    read: Box<ReadIdentities>,
    cost: Cost,
    is_ssh: bool,
    read_per_recipient: bool,
    found: Mutex<HashMap<String, Found>>,
}

/// Reads a source on behalf of a recipient. `None` says that there is nothing there.
type ReadIdentities = dyn Fn(&str) -> Result<Option<SecretBytes>, String> + Send + Sync;

/// What a source gave: identities, nothing, or an error.
type Found = Arc<Result<Option<Vec<Identity>>, String>>;

/// What it costs to read a source.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cost {
    Command,
    File,
}

impl Identities {
    /// Returns no identities.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads identities from a text: a list of them, a file of them that a passphrase protects, or a
    /// private key of SSH. `name` is what reports call the text.
    ///
    /// # Errors
    /// If the text holds something else.
    pub fn parse(name: &str, text: &SecretBytes) -> Result<Self, IdentityParseError> {
        let mut identities = Self::new();
        identities.add(name, text, IdentityLayout::Lines)?;
        Ok(identities)
    }

    /// Adds the identities of a text.
    ///
    /// # Errors
    /// If the text does not hold identities.
    pub fn add(
        &mut self,
        name: &str,
        text: &SecretBytes,
        layout: IdentityLayout,
    ) -> Result<(), IdentityParseError> {
        let found = identity::parse(name, text, layout)?;
        let source = IdentitySource::new(name, |_| Ok(None));
        source.keep("", Arc::new(Ok(Some(found))));
        self.sources.push(source);
        Ok(())
    }

    /// Adds a source that is read when it is needed.
    pub fn add_source(&mut self, source: IdentitySource) {
        self.sources.push(source);
    }

    /// Returns the recipients of the identities that were read, as far as nobody needs to be asked.
    #[must_use]
    pub fn recipients(&self) -> Vec<String> {
        let mut recipients = Vec::new();
        for source in &self.sources {
            let found = source.found.lock().unwrap_or_else(PoisonError::into_inner);
            for found in found.values() {
                if let Ok(Some(identities)) = &**found {
                    recipients.extend(identities.iter().filter_map(Identity::recipient));
                }
            }
        }
        recipients
    }

    /// Returns an identity for the age library that stands for all of these.
    pub(super) fn search<'a>(
        &'a self,
        recipient: &'a str,
        prompt: &'a Arc<dyn Prompt>,
        asking: Asking,
    ) -> Search<'a> {
        Search { identities: self, recipient, prompt, asking, outcome: RefCell::default() }
    }

    /// Returns whether an identity that was read may ask a person.
    pub(super) fn may_ask(&self) -> bool {
        self.sources.iter().any(|source| {
            let found = source.found.lock().unwrap_or_else(PoisonError::into_inner);
            let of_source = found.values().filter_map(|found| found.as_ref().as_ref().ok()?.as_ref());
            of_source.flatten().any(Identity::needs_prompt)
        })
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.sources.iter().map(|source| &source.name)).finish()
    }
}

impl IdentitySource {
    /// Returns a source that `read` reads; `Ok(None)` says that there is nothing there. `name` is what
    /// reports call the source.
    pub fn new(
        name: &str,
        read: impl Fn(&str) -> Result<Option<SecretBytes>, String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.to_owned(),
            layout: IdentityLayout::Lines,
            read: Box::new(read),
            cost: Cost::File,
            is_ssh: false,
            read_per_recipient: false,
            found: Mutex::default(),
        }
    }

    /// Says how the identities are written.
    #[must_use]
    pub fn with_layout(mut self, layout: IdentityLayout) -> Self {
        self.layout = layout;
        self
    }

    /// Says that reading starts a program. It is told the recipient, so it is read once for each.
    #[must_use]
    pub fn from_command(mut self) -> Self {
        self.cost = Cost::Command;
        self.read_per_recipient = true;
        self
    }

    /// Says that the source holds a private key of SSH, which only fits what is wrapped for such a key.
    #[must_use]
    pub fn for_ssh(mut self) -> Self {
        self.is_ssh = true;
        self
    }

    /// Returns what the source holds, reading it the first time.
    fn find(&self, recipient: &str) -> Found {
        let slot = if self.read_per_recipient { recipient } else { "" };
        // The lock is held while reading, so that a command runs once even if many documents need it.
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = found.entry(slot.to_owned()).or_insert_with(|| {
            Arc::new((self.read)(recipient).and_then(|text| {
                match text {
                    Some(text) => identity::parse(&self.name, &text, self.layout)
                        .map(Some)
                        .map_err(|error| error.to_string()),
                    None => Ok(None),
                }
            }))
        });
        Arc::clone(entry)
    }

    fn keep(&self, slot: &str, found: Found) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(slot.to_owned(), found);
    }
}

/// The search for the identity that unwraps one file key. The age library sees it as one identity.
pub(super) struct Search<'a> {
    identities: &'a Identities,
    recipient: &'a str,
    prompt: &'a Arc<dyn Prompt>,
    asking: Asking,
    outcome: RefCell<Outcome>,
}

/// Who may be asked in a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// Nobody: only what opens by itself is tried.
    Nobody,
    /// The person who runs the program: what opens by itself was tried before.
    Person,
}

/// What is known when no identity unwrapped the file key.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) report: IdentityReport,
    /// Whether an identity fitted and failed.
    pub(super) has_failed: bool,
}

/// The rounds of the search, cheapest first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    /// What files hold, as far as nobody needs to be asked.
    Files,
    /// What commands give, as far as nobody needs to be asked.
    Commands,
    /// What needs a passphrase, if it is known to fit.
    Certain,
    /// What asks a person, perhaps in vain.
    Questions,
}

impl Search<'_> {
    /// Returns what was found out on the way.
    pub(super) fn into_outcome(self) -> Outcome {
        let mut outcome = self.outcome.into_inner();
        for source in &self.identities.sources {
            let found = source.found.lock().unwrap_or_else(PoisonError::into_inner);
            let slot = if source.read_per_recipient { self.recipient } else { "" };
            let name = source.name.clone();
            match found.get(slot).map(|found| &**found) {
                Some(Ok(Some(identities))) if !identities.is_empty() => outcome.report.tried.push(name),
                Some(Ok(_)) => outcome.report.empty.push(name),
                Some(Err(problem)) => {
                    outcome
                        .report
                        .problems
                        .push(IdentityProblem { location: name, problem: problem.clone() });
                }
                None => {}
            }
        }
        outcome
    }

    fn try_round(&self, round: Round, stanzas: &[Stanza]) -> Option<FileKey> {
        let has_ssh_stanza = stanzas.iter().any(|stanza| stanza.tag.starts_with("ssh-"));
        let is_due = |source: &&IdentitySource| {
            (has_ssh_stanza || !source.is_ssh)
                && match round {
                    Round::Files | Round::Certain => source.cost == Cost::File,
                    Round::Commands => source.cost == Cost::Command,
                    Round::Questions => true,
                }
        };
        self.identities.sources.iter().filter(is_due).find_map(|source| {
            let found = source.find(self.recipient);
            let identities = found.as_ref().as_ref().ok()?.as_ref()?;
            if self.asking == Asking::Nobody && identities.iter().any(Identity::needs_prompt) {
                self.outcome.borrow_mut().report.unasked.push(source.name.clone());
            }
            identities.iter().filter(|identity| round.takes(identity)).find_map(|identity| {
                match identity.unwrap_stanzas(stanzas, self.prompt)? {
                    Ok(file_key) => Some(file_key),
                    Err(problem) => {
                        self.note(source, problem);
                        None
                    }
                }
            })
        })
    }

    fn note(&self, source: &IdentitySource, problem: String) {
        let problem = IdentityProblem { location: source.name.clone(), problem };
        let mut outcome = self.outcome.borrow_mut();
        outcome.has_failed = true;
        // A key that asked in vain is met again in a later round.
        if !outcome.report.problems.contains(&problem) {
            outcome.report.problems.push(problem);
        }
    }
}

impl Round {
    const fn of(asking: Asking) -> &'static [Self] {
        match asking {
            Asking::Nobody => &[Self::Files, Self::Commands],
            Asking::Person => &[Self::Certain, Self::Questions],
        }
    }

    fn takes(self, identity: &Identity) -> bool {
        match self {
            Self::Files | Self::Commands => !identity.needs_prompt(),
            Self::Certain => identity.needs_prompt() && identity.is_certain(),
            Self::Questions => identity.needs_prompt(),
        }
    }
}

impl ::age::Identity for Search<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        self.unwrap_stanzas(std::slice::from_ref(stanza))
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, DecryptError>> {
        Round::of(self.asking).iter().find_map(|round| self.try_round(*round, stanzas)).map(Ok)
    }
}
