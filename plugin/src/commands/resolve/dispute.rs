//! Both sides of a file, opened, and what is to be decided between them.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use selkie::format::Format;
use selkie::merge::sops::{MergedFile, Side};
use selkie::merge::{Conflict, ConflictKind, Sides, sides};
use selkie::scheme::OpenDocument;
use selkie::sealed::KeyRegistry;
use selkie::secret::SecretBytes;
use selkie::sops::MacCheck;
use selkie::tree::{Finder, NodeId, Step, Tree, TreePath, differences};

use super::choice::{Choice, Whole};
use super::index::Unmerged;
use crate::commands;
use crate::context::Context;
use crate::failure::Failure;
use crate::merging::{self, Kind, MergingError, Versions, copy};
use crate::opening::Opener;

/// Both sides of a file: whatever is no conflict is the same in both.
pub(super) struct Dispute<'a> {
    pub format: Format,
    pub ours: Version<'a>,
    pub theirs: Version<'a>,
    /// What both come from, if that can be opened.
    pub base: Option<Version<'a>>,
    /// What is to be decided, in the order of our side.
    pub conflicts: Vec<Item>,
}

/// A version of a file.
pub(super) struct Version<'a> {
    /// The encrypted file.
    pub file: SecretBytes,
    /// The decrypted file; none for sealed values whose private key is not at hand.
    pub opened: Option<Box<dyn OpenDocument + 'a>>,
    /// What people see and edit: in clear, if it was opened.
    pub text: SecretBytes,
    /// What that says.
    pub tree: Tree,
    /// The nodes of the opened file that were encrypted.
    pub secret: BTreeSet<NodeId>,
}

/// Something that is to be decided.
pub(super) struct Item {
    /// The 0-based position of the document.
    pub document: usize,
    pub path: TreePath,
    /// What the sides did, if that is known: without what they come from, they only differ.
    pub kind: Option<ConflictKind>,
}

/// The places of a version, found by path.
pub(super) struct Located<'a> {
    pub version: &'a Version<'a>,
    shown: Finder<'a>,
    /// Those of what was opened; none if nothing was.
    opened: Option<Finder<'a>>,
}

/// What conflicts name already.
struct Named<'a> {
    has_metadata: bool,
    places: HashSet<(usize, &'a [Step])>,
    /// The number of steps of the longest path among them.
    longest: usize,
}

/// The lines with markers in a text for the editor.
pub(super) struct MarkerLines(Vec<SecretBytes>);

impl<'a> Dispute<'a> {
    /// Opens both sides of a file: those between its markers if both are whole, else those that Git has.
    ///
    /// # Errors
    /// If there are no two sides, or one cannot be opened.
    pub(super) fn of(
        context: &Context<'_>,
        opener: &'a Opener<'_>,
        file: &Path,
        content: &SecretBytes,
        unmerged: Option<&Unmerged>,
    ) -> Result<Self, Failure> {
        let staged = unmerged.and_then(Unmerged::sides);
        let halves = sides::split(content.expose_secret());
        if let Some((ours, theirs)) = &halves {
            let is_as_staged =
                staged.is_some_and(|staged| staged.ours.is_same(ours) && staged.theirs.is_same(theirs));
            let base = staged.and_then(|staged| staged.base);
            // What was merged by lines has all changes between the markers, not the conflicts alone.
            if !is_as_staged && let Some(dispute) = Self::between(opener, file, Sides { base, ours, theirs })
            {
                return Ok(dispute);
            }
        }
        match (staged, halves) {
            (Some(staged), _) => Self::merged(context, opener, file, staged),
            (None, Some(_)) => Err(MergingError::Unknown.into()),
            (None, None) => Err(MergingError::NoConflict.into()),
        }
    }

    /// Returns the sides between markers, if both are whole.
    fn between(opener: &'a Opener<'_>, file: &Path, sides: Sides<&SecretBytes>) -> Option<Self> {
        let format = merging::format_of_versions(file, [sides.ours, sides.theirs]);
        let kind = Versions { file, format, sides }.kind()?;
        let open = |text: &SecretBytes| Version::open(opener, file, format, kind, copy(text)).ok();
        let (ours, theirs) = (open(sides.ours)?, open(sides.theirs)?);
        if kind == Kind::Sops && (ours.opened.is_none() || theirs.opened.is_none()) {
            return None;
        }
        let base = sides.base.and_then(open);
        let conflicts = differing(&ours, &theirs);
        Some(Self { format, ours, theirs, base, conflicts })
    }

    /// Merges the sides that Git has.
    fn merged(
        context: &Context<'_>,
        opener: &'a Opener<'_>,
        file: &Path,
        sides: Sides<&SecretBytes>,
    ) -> Result<Self, Failure> {
        let format =
            merging::format_of_versions(file, sides.base.into_iter().chain([sides.ours, sides.theirs]));
        let versions = Versions { file, format, sides };
        let kind = versions.kind().ok_or(MergingError::NoConflict)?;
        let none = KeyRegistry::new();
        let keys = if kind == Kind::Sealed { opener.registry()? } else { &none };
        let merged = match versions.merge(context, kind, keys) {
            Err(Failure::Merging(MergingError::Version { side: Side::Base, source })) => {
                let why = crate::report::describe(&source, "hint:");
                context.report.warn(format!(
                    "the common ancestor cannot be used, so that all that differs is to be decided: {why}"
                ));
                versions.undecided()
            }
            merged => merged?,
        };
        let MergedFile { ours, theirs, conflicts } = merged;
        let open = |text| Version::open(opener, file, format, kind, text);
        let (ours, theirs) = (open(ours)?, open(theirs)?);
        let base = sides.base.and_then(|base| open(copy(base)).ok());
        let mut conflicts: Vec<_> = conflicts.into_iter().map(Item::from).collect();
        // Where a conflict left the sides as they were, more differs than it names.
        let named = Named::new(&conflicts);
        let unnamed = differing(&ours, &theirs).into_iter();
        let unnamed: Vec<_> = unnamed.filter(|item| !named.covers(item)).collect();
        conflicts.extend(unnamed);
        Ok(Self { format, ours, theirs, base, conflicts })
    }

    /// Returns whether nothing is to be decided.
    pub(super) fn is_clean(&self) -> bool {
        self.ours.file.is_same(&self.theirs.file)
    }

    /// Returns one of the sides.
    pub(super) const fn side(&self, side: Whole) -> &Version<'a> {
        match side {
            Whole::Ours => &self.ours,
            Whole::Theirs => &self.theirs,
        }
    }

    /// Returns the version that a choice takes values of.
    ///
    /// # Errors
    /// If that is what both come from, and it is not at hand.
    pub(super) fn version(&self, choice: Choice) -> Result<&Version<'a>, MergingError> {
        match choice {
            Choice::Base => self.base.as_ref().ok_or(MergingError::NoBase),
            Choice::Ours => Ok(&self.ours),
            Choice::Theirs => Ok(&self.theirs),
        }
    }

    /// Returns the lines of a text with both sides that are markers: those that neither side has.
    pub(super) fn lines_of_markers(&self, text: &SecretBytes) -> MarkerLines {
        let known: BTreeSet<&[u8]> = lines(&self.ours.text).chain(lines(&self.theirs.text)).collect();
        let is_like_one = |line: &[u8]| MARKERS.iter().any(|start| line.starts_with(start.as_bytes()));
        let markers = lines(text).filter(|line| is_like_one(line) && !known.contains(line));
        MarkerLines(markers.map(SecretBytes::from).collect())
    }
}

impl<'a> Version<'a> {
    /// Opens a version. Sealed values need not be opened.
    fn open(
        opener: &'a Opener<'_>,
        file: &Path,
        format: Format,
        kind: Kind,
        text: SecretBytes,
    ) -> Result<Self, Failure> {
        let tree = format.read(copy(&text))?;
        let opened = match opener.open_tree(Some(file), format, tree, MacCheck::Require) {
            Err(_) if kind == Kind::Sealed => None,
            opened => Some(opened?),
        };
        let shown = opened.as_ref().map_or_else(|| Ok(copy(&text)), |opened| opened.plaintext())?;
        let tree = format.read(copy(&shown))?;
        let secret = opened.as_ref().map(|opened| opened.decrypted()).unwrap_or_default();
        Ok(Self { file: text, opened, text: shown, tree, secret })
    }

    /// Returns the value at a path of a document.
    pub(super) fn find(&self, document: usize, path: &TreePath) -> Option<NodeId> {
        self.tree.get(*self.tree.documents().get(document)?, path)
    }
}

impl<'a> Located<'a> {
    /// Reads a version once.
    pub(super) fn new(version: &'a Version<'a>) -> Self {
        let opened = version.opened.as_ref().map(|opened| Finder::new(opened.tree()));
        Self { version, shown: Finder::new(&version.tree), opened }
    }

    /// Returns the value in the place of a conflict.
    pub(super) fn find(&self, item: &Item) -> Option<NodeId> {
        self.shown.find(item.document, &item.path)
    }

    /// Returns whether anything of the value in the place of a conflict is encrypted. What is sealed may be shown.
    pub(super) fn hides(&self, item: &Item) -> bool {
        let (Some(opened), Some(finder)) = (&self.version.opened, &self.opened) else { return false };
        // What an opened file has elsewhere than its text is not told apart.
        finder.find(item.document, &item.path).is_none_or(|top| {
            let end = opened.tree().node(top).end as usize;
            self.version.secret.range(top..).next().is_some_and(|id| id.index() < end)
        })
    }
}

impl<'a> Named<'a> {
    fn new(conflicts: &'a [Item]) -> Self {
        let places = conflicts.iter().filter(|item| !item.is_metadata());
        let places: HashSet<_> = places.map(|item| (item.document, item.path.steps())).collect();
        Self {
            has_metadata: conflicts.iter().any(Item::is_metadata),
            longest: places.iter().map(|(_, steps)| steps.len()).max().unwrap_or_default(),
            places,
        }
    }

    /// Returns whether who decides what is named has decided this, too.
    fn covers(&self, item: &Item) -> bool {
        let steps = item.path.steps();
        let has = |end: usize| self.places.contains(&(item.document, &steps[..end]));
        match item.is_metadata() {
            true => self.has_metadata,
            false => (0..=steps.len().min(self.longest)).any(has),
        }
    }
}

impl From<Conflict> for Item {
    fn from(conflict: Conflict) -> Self {
        Self { document: conflict.document, path: conflict.path, kind: Some(conflict.kind) }
    }
}

impl MarkerLines {
    /// Returns the 1-based number of the first line of a text that is one of them.
    pub(super) fn first_in(&self, text: &SecretBytes) -> Option<usize> {
        let is_marker = |line: &[u8]| self.0.iter().any(|marker| marker.expose_secret() == line);
        lines(text).position(is_marker).map(|index| index + 1)
    }
}

/// Returns everything that differs between two versions.
fn differing(ours: &Version<'_>, theirs: &Version<'_>) -> Vec<Item> {
    let mut items = Vec::new();
    let keys = |version: &Version<'_>| {
        let metadata = version.opened.as_ref()?.metadata()?;
        let groups = commands::groups_json(&metadata.groups);
        Some((groups, metadata.shamir_threshold, metadata.selector.clone(), metadata.mac_only_encrypted))
    };
    if keys(ours) != keys(theirs) {
        let kind = Some(ConflictKind::Metadata);
        items.push(Item { document: 0, path: TreePath::new(), kind });
    }
    let differences = differences(&ours.tree, &theirs.tree).into_iter();
    items.extend(differences.map(|found| Item { document: found.document, path: found.path, kind: None }));
    items
}

fn lines(text: &SecretBytes) -> impl Iterator<Item = &[u8]> {
    let lines = text.expose_secret().split(|byte| *byte == b'\n');
    lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// How the lines start that part the sides.
const MARKERS: [&str; 3] = ["<<<", "===", ">>>"];
