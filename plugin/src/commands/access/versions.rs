//! The versions of files, in Git and in the working tree, and who could read them.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use selkie::format::Format;
use selkie::scheme::Scheme;
use selkie::sealed::SealedSecrets;
use selkie::secret::SecretBytes;
use selkie::sops::access::{Access, Encryption, Period, Reader, Recipient, Version};
use selkie::sops::{Metadata, Sops};
use serde_json::{Value as Json, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::context::Context;
use crate::document;
use crate::failure::Failure;
use crate::git;
use crate::history::{self, Commit, FileHistory, Revisions};
use crate::targets;

/// What was found out.
#[derive(Default)]
pub struct Findings {
    /// The files that are encrypted, or were.
    pub files: Vec<Found>,
    /// How many versions cannot be read.
    pub unread: usize,
    /// Whether parts of the history are not there.
    pub is_cut: bool,
}

/// What was found out about a file.
pub struct Found {
    /// Its last path, as it is shown.
    pub name: String,
    /// The paths that it had before.
    pub formerly: Vec<String>,
    /// Where each version comes from.
    pub origins: Vec<Origin>,
    /// Who could read them.
    pub access: Access,
}

/// Where a version comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A commit.
    Commit(Commit),
    /// The files as they are: in no commit, or taken over by a merge.
    Here,
}

/// A version as it was read: what it is, and what its bytes are told from others by.
#[derive(Clone)]
struct Known {
    /// Nothing if it cannot be read.
    version: Option<Version>,
    digest: u64,
}

/// What was read already.
#[derive(Default)]
struct Looks {
    seen: Mutex<HashMap<String, Metadata>>,
}

/// Finds the files that `paths` name, and who could read them.
///
/// # Errors
/// If nothing is at a path, or Git cannot tell.
pub fn find(context: &Context<'_>, paths: &[String], revisions: &Revisions) -> Result<Findings, Failure> {
    let here = [".".to_owned()];
    let paths = if paths.is_empty() { &here[..] } else { paths };
    let mut findings = Findings::default();
    for (root, paths) in by_repository(context, paths) {
        let mut current = current(context, &paths)?;
        if let Some(root) = root {
            let specs: Vec<_> =
                paths.iter().map(|path| spec(&root, &context.session.absolute(Path::new(path)))).collect();
            findings.is_cut |= git::is_shallow(&root);
            of_repository(context, &root, revisions, &specs, &mut current, &mut findings)?;
        }
        // What Git does not know.
        for (path, known) in current {
            let versions = [(Origin::Here, known)];
            findings.add(&context.shown(&path), &[], versions.into());
        }
    }
    findings.files.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(findings)
}

/// Returns the paths by the repositories that they are in.
fn by_repository(context: &Context<'_>, paths: &[String]) -> BTreeMap<Option<PathBuf>, Vec<String>> {
    let mut repositories: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for path in paths {
        let root = git::root_of(&context.session.absolute(Path::new(path)));
        repositories.entry(root).or_default().push(path.clone());
    }
    repositories
}

/// Returns a path as Git takes it in the root of its repository.
fn spec(root: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
    if relative.is_empty() { ".".to_owned() } else { relative.into_owned() }
}

/// Reads the files as they are. Those that only the history has may not be there.
fn current(context: &Context<'_>, paths: &[String]) -> Result<BTreeMap<PathBuf, Known>, Failure> {
    let is_there = |path: &&String| {
        let path = Path::new(path);
        let is_in_git = git::root_of(&context.session.absolute(path)).is_some();
        context.session.absolute(path).exists() || !is_in_git
    };
    let there: Vec<_> = paths.iter().filter(is_there).cloned().collect();
    let (mut current, looks) = (BTreeMap::new(), Looks::default());
    if there.is_empty() {
        return Ok(current);
    }
    for target in targets::expand(&there, context.session)? {
        let Some(path) = target.path() else { continue };
        let text = document::read(context, path)?;
        let absolute = context.session.absolute(path);
        let known = Known::of(text.expose_secret(), document::format_of(path), &looks);
        current.insert(absolute, known);
    }
    Ok(current)
}

fn of_repository(
    context: &Context<'_>,
    root: &Path,
    revisions: &Revisions,
    specs: &[String],
    current: &mut BTreeMap<PathBuf, Known>,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let history = history::read(root, revisions, specs)?;
    let blobs = read_blobs(root, &history.files)?;
    for file in &history.files {
        let format = document::format_of(&file.path);
        let known = |name: &Option<String>| match name {
            None => Known { version: Some(Version::Absent), digest: 0 },
            Some(name) => blobs.get(&(name.as_str(), format)).cloned().unwrap_or(Known::unreadable()),
        };
        let version = |(at, name): &(usize, Option<String>)| {
            (Origin::Commit(history.commits[*at].clone()), known(name))
        };
        let mut versions: Vec<_> = file.versions.iter().map(version).collect();
        let path = root.join(&file.path);
        let last = versions.last().map(|(_, known)| known.digest);
        if let Some(now) = current.remove(&path).filter(|now| Some(now.digest) != last) {
            versions.push((Origin::Here, now));
        }
        let formerly: Vec<_> = file.formerly.iter().map(|path| context.shown(&root.join(path))).collect();
        findings.add(&context.shown(&path), &formerly, versions);
    }
    Ok(())
}

/// Reads all versions of all files, each content once.
fn read_blobs<'a>(
    root: &Path,
    files: &'a [FileHistory],
) -> Result<HashMap<(&'a str, Format), Known>, Failure> {
    let mut wanted: Vec<(&str, Format)> = Vec::new();
    for file in files {
        let format = document::format_of(&file.path);
        wanted.extend(file.versions.iter().filter_map(|(_, name)| Some((name.as_deref()?, format))));
    }
    wanted.sort_unstable_by_key(|(name, format)| (*name, format.store().name()));
    wanted.dedup();
    let (mut known, looks) = (HashMap::new(), Looks::default());
    // Some at a time: they are looked at on all cores, and need not all be held.
    for wanted in wanted.chunks(CHUNK) {
        let names: Vec<_> = wanted.iter().map(|(name, _)| (*name).to_owned()).collect();
        let mut contents = vec![None; names.len()];
        git::blobs(root, &names, |at, content| contents[at] = content)?;
        let look = |(&key, content): (&(&'a str, Format), Option<Vec<u8>>)| {
            (key, content.map_or_else(Known::unreadable, |content| Known::of(&content, key.1, &looks)))
        };
        let pairs: Vec<_> = wanted.iter().zip(contents).collect();
        known.extend(pairs.into_par_iter().map(look).collect::<Vec<_>>());
    }
    Ok(known)
}

impl Known {
    /// Looks at the content of a version.
    fn of(text: &[u8], format: Format, looks: &Looks) -> Self {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let digest = hasher.finish();
        if !Sops.may_be_in(text) && !SealedSecrets.may_be_in(text) {
            return Self { version: Some(Version::Clear), digest };
        }
        // Most versions differ in values, which need not be read.
        if let Some(metadata) = looks.metadata_at_end(text, format) {
            return Self { version: Some(Version::Encrypted(Encryption::of(text, &metadata))), digest };
        }
        let version = match format.read(SecretBytes::from(text)) {
            Ok(tree) if Sops.is_in(&tree) => {
                let metadata = Metadata::from_entry(tree.metadata()).ok();
                metadata.map(|metadata| Version::Encrypted(Encryption::of(text, &metadata)))
            }
            Ok(tree) if SealedSecrets.is_in(&tree) => {
                Some(Version::Encrypted(Encryption::sealed_for(controller())))
            }
            Ok(_) => Some(Version::Clear),
            Err(_) => None,
        };
        Self { version, digest }
    }

    const fn unreadable() -> Self {
        Self { version: None, digest: 0 }
    }
}

impl Looks {
    /// Returns the metadata of a YAML document that ends with it, as sops writes it, without reading the rest. What
    /// differs in time and MAC alone is read once.
    fn metadata_at_end(&self, text: &[u8], format: Format) -> Option<Metadata> {
        let text = std::str::from_utf8(text).ok().filter(|_| format == Format::Yaml)?;
        let end = &text[text.find(METADATA_LINE)? + 1..];
        let is_kept =
            |line: &&str| !["lastmodified:", "mac:"].iter().any(|start| line.trim_start().starts_with(start));
        let mut essence = String::with_capacity(end.len());
        for line in end.split_inclusive('\n').filter(is_kept) {
            essence.push_str(line);
        }
        let seen = || self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(metadata) = seen().get(&essence) {
            return Some(metadata.clone());
        }
        // Nothing but the entry, which is indented.
        let is_entry = |line: &str| line.is_empty() || line.starts_with(' ');
        if !end.lines().skip(1).all(is_entry) {
            return None;
        }
        let metadata = Metadata::from_entry(format.read(end).ok()?.metadata()).ok()?;
        seen().insert(essence, metadata.clone());
        Some(metadata)
    }
}

/// Who opens SealedSecrets: their text does not name it.
fn controller() -> Recipient {
    Recipient::new("sealed-secrets", "the controller with the private key that they were sealed for")
}

impl Findings {
    /// Adds a file, unless it was never encrypted.
    fn add(&mut self, path: &Path, formerly: &[PathBuf], versions: Vec<(Origin, Known)>) {
        let is_encrypted = |known: &Known| matches!(known.version, Some(Version::Encrypted(_)));
        let is_ours = versions.iter().any(|(_, known)| is_encrypted(known));
        if !is_ours {
            return;
        }
        let (mut origins, mut read) = (Vec::new(), Vec::new());
        for (origin, known) in versions {
            match known.version {
                None => self.unread += 1,
                Some(version) => {
                    origins.push(origin);
                    read.push(version);
                }
            }
        }
        self.files.push(Found {
            name: path.display().to_string(),
            formerly: formerly.iter().map(|path| path.display().to_string()).collect(),
            origins,
            access: Access::over(&read),
        });
    }
}

impl Found {
    /// Leaves out other recipients, and what was over before a moment. Returns whether anything is left.
    pub fn narrow(&mut self, key: Option<&str>, since: Option<OffsetDateTime>) -> bool {
        let Self { access, origins, .. } = self;
        let is_late = |period: &Period| match (since, period.until.map(|until| &origins[until])) {
            (Some(since), Some(Origin::Commit(commit))) => commit.time >= since,
            _ => true,
        };
        access.clear.retain(|period| key.is_none() && is_late(period));
        access.readers.retain_mut(|reader| {
            // Who still knows the data key reads what comes, however long ago that was.
            if !reader.knows_data_key {
                reader.periods.retain(is_late);
            }
            !reader.periods.is_empty() && key.is_none_or(|key| reader.recipient.key.starts_with(key))
        });
        !access.readers.is_empty() || !access.clear.is_empty()
    }

    /// Returns what was found out, for programs.
    pub fn to_json(&self) -> Json {
        let periods =
            |periods: &[Period]| periods.iter().map(|period| self.period_json(period)).collect::<Json>();
        let reader = |reader: &Reader| {
            json!({
                "kind": reader.recipient.kind,
                "key": reader.recipient.key,
                "reads": reader.reads_now(),
                "knowsDataKey": reader.knows_data_key,
                "share": reader.share.map(|share| json!({"needed": share.needed, "groups": share.groups})),
                "periods": periods(&reader.periods),
            })
        };
        json!({
            "file": self.name,
            "formerly": self.formerly,
            "recipients": self.access.readers.iter().map(reader).collect::<Json>(),
            "inClear": periods(&self.access.clear),
        })
    }

    fn period_json(&self, period: &Period) -> Json {
        let origin = |at: usize| match &self.origins[at] {
            Origin::Here => json!({"commit": null, "date": null, "author": null}),
            Origin::Commit(commit) => json!({
                "commit": commit.id,
                "date": commit.time.format(&Rfc3339).unwrap_or_default(),
                "author": commit.author,
            }),
        };
        json!({"since": origin(period.since), "until": period.until.map(origin)})
    }
}

/// How the metadata begins.
const METADATA_LINE: &str = "\nsops:\n";
/// How many versions are read at a time.
const CHUNK: usize = 4096;
