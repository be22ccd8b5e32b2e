//! What a rule is: the table of [`super::RULES`] is made of these.

use super::Context;
use super::facts::Facts;
use super::file::File;
use super::finding::Findings;
use super::needles::Needles;

/// One thing that must not get into a repository.
///
/// A rule is one file: this value, how it decides, and beside it what it finds and what it must leave alone.
pub struct Rule {
    /// What people, configurations and reports call it, such as `K8S001`.
    pub id: &'static str,
    /// How bad a finding is, unless the repository's configuration says otherwise.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub title: &'static str,
    /// Why it is wrong, what is accepted, and how to mend it: for whoever asks. Paragraphs are parted by empty lines.
    pub explanation: &'static str,
    /// What has to be in a file, or one of what, before the rule looks at it.
    pub needles: Needles,
    /// How it decides.
    pub check: Check,
}

/// How a rule decides.
#[derive(Clone, Copy)]
pub enum Check {
    /// By all files together, once each of them was looked at.
    Change(fn(&[Facts], &Context<'_>, &mut Findings)),
    /// The checker itself finds it.
    Checker,
    /// By one file, with what was at its path before, and what lies beside it.
    File(fn(&File<'_>, &Context<'_>, &mut Findings)),
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It is not told.
    Off,
    /// It is told, and stops nothing.
    Warning,
    /// It stops a commit.
    Error,
}

impl Severity {
    /// Returns the word that configurations and reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// Returns the severity that is called so.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Off, Self::Warning, Self::Error].into_iter().find(|severity| severity.name() == name)
    }
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.id)
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Rule {}
