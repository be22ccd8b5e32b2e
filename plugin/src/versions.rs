//! Versions of files: what those in Git are, each content read once.

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
use selkie::sops::access::{Encryption, Recipient, Version};
use selkie::sops::{Metadata, Sops};

use crate::context::Context;
use crate::document;
use crate::failure::Failure;
use crate::git;
use crate::history::FileHistory;

/// A version as it was read: what it is, and what its bytes are told from others by.
#[derive(Clone)]
pub struct Known {
    /// What it is; nothing if it cannot be read.
    pub version: Option<Version>,
    /// Tells its bytes from others.
    pub digest: u64,
}

/// What was read already.
#[derive(Default)]
pub struct Looks {
    seen: Mutex<HashMap<String, Metadata>>,
}

/// Returns the paths by the repositories that they are in.
pub fn by_repository(context: &Context<'_>, paths: &[String]) -> BTreeMap<Option<PathBuf>, Vec<String>> {
    let mut repositories: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for path in paths {
        let root = git::root_of(&context.session.absolute(Path::new(path)));
        repositories.entry(root).or_default().push(path.clone());
    }
    repositories
}

/// Returns a path as Git takes it in the root of its repository.
pub fn spec(root: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
    if relative.is_empty() { ".".to_owned() } else { relative.into_owned() }
}

/// Reads all versions of all files, each content once.
///
/// # Errors
/// If Git cannot tell.
pub fn read_blobs<'a>(
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
    pub fn of(text: &[u8], format: Format, looks: &Looks) -> Self {
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

    /// Returns a version that cannot be read.
    #[must_use]
    pub const fn unreadable() -> Self {
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

/// How the metadata begins.
const METADATA_LINE: &str = "\nsops:\n";
/// How many versions are read at a time.
const CHUNK: usize = 4096;
