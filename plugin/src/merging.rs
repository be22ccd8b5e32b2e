//! Merging versions of encrypted files, for Git and for people.
//!
//! Git merges the ancestors of a criss-cross history first, and what comes of it may be two versions with markers
//! between them. Such an ancestor says what the sides come from only as far as both its halves say the same.
//!
//! Invariants: a merge is clean only if it comes out the same with every version that the ancestor may stand for. A
//! version that is in clear where another one is encrypted is never merged by text.

use std::path::Path;

use rand::rngs::OsRng;
use selkie::DecryptError;
use selkie::format::Format;
use selkie::merge::sops::{MergeError, MergedFile};
use selkie::merge::{Sides, sealed, sides, sops};
use selkie::scheme::Scheme;
use selkie::sealed::{KeyRegistry, SealedSecrets};
use selkie::secret::SecretBytes;
use selkie::sops::{MacCheck, MetadataError, OpenError, Sops};
use selkie::tree::TreePath;

use crate::audit::Deed;
use crate::context::Context;
use crate::document::{format_of, may_be_encrypted};
use crate::dotted;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::hint::hint;
use crate::report::count;
use crate::sealing;

/// How the versions of a file hold secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As SealedSecrets.
    Sealed,
    /// As a document of SOPS.
    Sops,
}

/// Versions of one file.
pub struct Versions<'a> {
    /// The absolute path of the file, whichever files the versions are in.
    pub file: &'a Path,
    /// What they are written in.
    pub format: Format,
    /// What they are.
    pub sides: Sides<&'a SecretBytes>,
}

/// Why versions of a file are not merged, or its conflicts not decided.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergingError {
    /// One side deleted the file, and the other changed it.
    #[error("{deleted} deleted the file, {changed} changed it")]
    Deleted {
        /// Who deleted it.
        deleted: sops::Side,
        /// Who changed it.
        changed: sops::Side,
    },
    /// What was encrypted in a side would be written in clear.
    #[error("{} would be in clear, and is encrypted in one of the sides", dotted::show(.0))]
    InClear(TreePath),
    /// A conflict is left in a text.
    #[error("line {0}: a conflict is not decided yet")]
    Marker(usize),
    /// The versions cannot be merged.
    #[error(transparent)]
    Merge(Box<MergeError>),
    /// There is no ancestor to take a value from.
    #[error("there is no common ancestor that can be opened")]
    NoBase,
    /// A value cannot be taken from a side by itself.
    #[error("{} cannot be taken by itself", show(.0))]
    NotAlone(TreePath),
    /// There is nothing to decide.
    #[error("there is no conflict in the file, and Git knows of none")]
    NoConflict,
    /// There is no conflict at a path.
    #[error("there is no conflict at {}", show(.0))]
    NoSuchConflict(TreePath),
    /// The text has a value that neither side sealed.
    #[error("line {0}: neither side has this sealed value, for an object of this name")]
    NotSealed(usize),
    /// The paths of conflicts that nobody decided.
    #[error("{} not decided", count_of(.0))]
    Undecided(Vec<String>),
    /// A version cannot be opened.
    #[error("{side}: {source}")]
    Version {
        /// Which one.
        side: sops::Side,
        /// Why not.
        source: Box<Failure>,
    },
    /// There are no two versions that can be opened.
    #[error("the versions between the markers are not whole, and Git does not have them any more")]
    Unknown,
}

impl Versions<'_> {
    /// Returns how the versions hold secrets, if any of them does.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        let all = [self.sides.base, Some(self.sides.ours), Some(self.sides.theirs)];
        let mut kinds = all.into_iter().flatten().filter_map(|text| kind_of(self.format, text));
        let first = kinds.next()?;
        Some(if kinds.any(|kind| kind == Kind::Sops) { Kind::Sops } else { first })
    }

    /// Merges the versions. Conflicts are decided for one side in each of the files that come of it.
    ///
    /// # Errors
    /// If a version cannot be opened, or what comes of the merge not be encrypted.
    pub fn merge(
        &self,
        context: &Context<'_>,
        kind: Kind,
        keys: &KeyRegistry,
    ) -> Result<MergedFile, Failure> {
        let merged = self.merge_once(context, kind, keys);
        let Err(failure) = merged else { return merged };
        let ancestors = self.sides.base.map(halves).unwrap_or_default();
        if ancestors.is_empty() {
            return Err(failure);
        }
        self.merge_from_each(context, kind, keys, &ancestors)
    }

    /// Merges from every version that the ancestor may stand for.
    fn merge_from_each(
        &self,
        context: &Context<'_>,
        kind: Kind,
        keys: &KeyRegistry,
        ancestors: &[SecretBytes],
    ) -> Result<MergedFile, Failure> {
        let mut agreed: Option<(MergedFile, SecretBytes)> = None;
        for ancestor in ancestors {
            let sides = Sides { base: Some(ancestor), ..self.sides };
            let merged = Versions { sides, ..*self }.merge_once(context, kind, keys)?;
            if !merged.conflicts.is_empty() {
                return Ok(self.undecided());
            }
            let says = self.says(context, kind, &merged.ours)?;
            match &agreed {
                Some((_, other)) if !other.is_same(&says) => return Ok(self.undecided()),
                Some(_) => {}
                None => agreed = Some((merged, says)),
            }
        }
        Ok(agreed.map_or_else(|| self.undecided(), |(merged, _)| merged))
    }

    /// Returns the sides as they are: whatever differs between them is to be decided.
    #[must_use]
    pub fn undecided(&self) -> MergedFile {
        MergedFile { ours: copy(self.sides.ours), theirs: copy(self.sides.theirs), conflicts: Vec::new() }
    }

    #[expect(clippy::disallowed_methods, reason = "the log is written here")]
    fn merge_once(
        &self,
        context: &Context<'_>,
        kind: Kind,
        keys: &KeyRegistry,
    ) -> Result<MergedFile, Failure> {
        let Sides { base, ours, theirs } = self.sides;
        if let Some(result) = self.decided_by_bytes().filter(|text| kind_of(self.format, text) == Some(kind))
        {
            return Ok(MergedFile { ours: copy(result), theirs: copy(result), conflicts: Vec::new() });
        }
        let sides = Sides { base: base.map(copy), ours: copy(ours), theirs: copy(theirs) };
        let merged = match kind {
            Kind::Sealed => sealed::merge(self.format, sides, keys),
            Kind::Sops => {
                context.warn_of_exposed_identities();
                let services = context.services()?;
                context.record(Deed::Decrypt, Some(self.file))?;
                context.record(Deed::Encrypt, Some(self.file))?;
                sops::merge(self.format, sides, &services, &context.session.now(), &mut OsRng)
            }
        };
        Ok(merged?)
    }

    /// Returns the version that is the result where one side did nothing, or both did the same: no key is needed.
    fn decided_by_bytes(&self) -> Option<&SecretBytes> {
        let Sides { base, ours, theirs } = self.sides;
        let same = |one: &SecretBytes, other: &SecretBytes| one.expose_secret() == other.expose_secret();
        match base {
            _ if same(ours, theirs) => Some(ours),
            Some(base) if same(base, ours) => Some(theirs),
            Some(base) if same(base, theirs) => Some(ours),
            _ => None,
        }
    }

    /// Returns what a version says, for comparing it with others.
    fn says(&self, context: &Context<'_>, kind: Kind, text: &SecretBytes) -> Result<SecretBytes, Failure> {
        if kind == Kind::Sealed {
            return Ok(copy(text));
        }
        let tree = self.format.read(copy(text))?;
        let metadata = sealing::metadata_of(&tree)?;
        let unlocked = sealing::unlock(context, Some(self.file), self.format, tree, MacCheck::Require)?;
        let mut says = unlocked.opened.plaintext()?;
        // The keys that open it are part of it.
        for group in &metadata.groups {
            says.push(0);
            group.0.iter().for_each(|key| says.push_str(&format!("{}\0", key)));
        }
        says.push_str(&format!("{}{:?}", metadata.shamir_threshold, metadata.selector));
        Ok(says)
    }
}

impl MergingError {
    /// Returns what may help.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Deleted { .. } => {
                "`git rm FILE` deletes it, `git checkout --ours FILE` or `git checkout --theirs FILE` brings it back \
                 from the side that has it, and `git add FILE` keeps it as it is"
            }
            Self::InClear(_) => {
                "the sides have different rules: choose the one that encrypts it, with `kubectl seal resolve --take \
                 sops=ours FILE` or `--take sops=theirs`"
            }
            Self::Marker(_) => "keep what is to stay, and take out the three lines with markers",
            Self::Merge(error) if matches!(**error, MergeError::NotEncrypted { .. }) => IN_CLEAR,
            Self::Merge(_) => {
                "`kubectl seal resolve FILE` shows both sides; `kubectl seal resolve --ours FILE` or `--theirs` takes \
                 one of them"
            }
            Self::NoBase => "take ours or theirs",
            Self::NotAlone(_) => "decide it in the editor: `kubectl seal resolve FILE`",
            Self::NotSealed(_) => {
                "take a value as it stands in one of the sides, and seal a new one afterwards with \
                 `kubectl seal merge`; or name the private key with --sealing-key, and edit the values"
            }
            Self::Undecided(_) => {
                "add --take PATH=ours, PATH=theirs or PATH=base for each of them, or --ours or --theirs for the rest"
            }
            Self::Unknown => {
                "go back to the versions before the merge, such as with `git checkout --merge FILE` or `git show \
                 REVISION:FILE`"
            }
            Self::NoSuchConflict(_) => "`kubectl seal resolve --list FILE` lists them",
            Self::Version { source, .. } => return version_hint(source),
            Self::NoConflict => return None,
        };
        Some(hint.to_owned())
    }

    /// Returns why it is so, as far as the message does not tell.
    #[must_use]
    pub fn causes(&self) -> Vec<String> {
        match self {
            Self::Undecided(paths) => paths.clone(),
            Self::Version { source, .. } => source.causes(),
            _ => Vec::new(),
        }
    }

    /// Returns how the run ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Version { source, .. } => source.exit(),
            _ => Exit::Failure,
        }
    }
}

impl From<MergeError> for Failure {
    fn from(error: MergeError) -> Self {
        match error {
            MergeError::Open { side, error } => {
                MergingError::Version { side, source: Box::new(error.into()) }.into()
            }
            MergeError::Seal(error) => error.into(),
            MergeError::Wrap(error) => error.into(),
            error => Self::Merging(MergingError::Merge(Box::new(error))),
        }
    }
}

impl From<DecryptError> for Failure {
    fn from(error: DecryptError) -> Self {
        match error {
            DecryptError::Metadata(error) => error.into(),
            DecryptError::Open(error) => error.into(),
            DecryptError::Parse(error) => error.into(),
            DecryptError::Recover(error) => error.into(),
            error => Self::Check(error.to_string()),
        }
    }
}

/// Returns the format of the versions of a file: of its name, or of what is in it.
#[must_use]
pub fn format_of_versions<'a>(path: &Path, texts: impl IntoIterator<Item = &'a SecretBytes>) -> Format {
    let format = format_of(path);
    let is_manifest = |text: &SecretBytes| {
        SealedSecrets.may_be_in(text.expose_secret())
            && Format::Yaml.read(copy(text)).is_ok_and(|tree| SealedSecrets.is_in(&tree))
    };
    let is_unknown = format == Format::Binary;
    if is_unknown && texts.into_iter().any(is_manifest) { Format::Yaml } else { format }
}

/// Returns a copy of a secret.
#[must_use]
pub fn copy(secret: &SecretBytes) -> SecretBytes {
    SecretBytes::from(secret.expose_secret())
}

/// Returns a path as people see it; the whole of a document has none.
#[must_use]
pub fn show(path: &TreePath) -> String {
    if path.steps().is_empty() { "the whole document".to_owned() } else { dotted::show(path) }
}

fn version_hint(failure: &Failure) -> Option<String> {
    let hint = match failure {
        Failure::Open(OpenError::Mac(_) | OpenError::MacMismatch | OpenError::MacMissing) => {
            "somebody changed this version without its key, or merged it by text: look at it with `git log -p FILE`. To \
             take the other one, run `kubectl seal resolve` with --ours or --theirs"
        }
        Failure::Metadata(MetadataError::Missing) => IN_CLEAR,
        failure => return hint(failure),
    };
    Some(hint.to_owned())
}

fn kind_of(format: Format, text: &SecretBytes) -> Option<Kind> {
    match format.read(copy(text)) {
        Ok(tree) if Sops.is_in(&tree) => Some(Kind::Sops),
        Ok(tree) => SealedSecrets.is_in(&tree).then_some(Kind::Sealed),
        // With markers in it, say.
        Err(_) if may_be_encrypted(text) => Some(Kind::Sops),
        Err(_) => SealedSecrets.may_be_in(text.expose_secret()).then_some(Kind::Sealed),
    }
}

/// Returns the versions that a text with markers stands for, which may have markers again; none if it has no markers, or
/// stands for more than can be tried.
fn halves(text: &SecretBytes) -> Vec<SecretBytes> {
    let (mut whole, mut torn) = (Vec::new(), vec![copy(text)]);
    let mut splits = 0;
    while let Some(text) = torn.pop() {
        match sides::split(text.expose_secret()) {
            Some((ours, theirs)) => {
                splits += 1;
                if splits > MOST_SPLITS {
                    return Vec::new();
                }
                torn.extend([theirs, ours]);
            }
            None if splits == 0 => return Vec::new(),
            None => whole.push(text),
        }
    }
    whole
}

fn count_of(paths: &[String]) -> String {
    let verb = if paths.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", count(paths.len(), "conflict"))
}

/// What to do about a version that is in clear.
const IN_CLEAR: &str = "it is in clear where another version is encrypted: encrypt it there first, or keep the encrypted one, such as with \
     `git checkout --ours FILE` and `git add FILE`";

/// How often an ancestor is taken apart: histories that cross more often than this are merged by people.
const MOST_SPLITS: usize = 7;
