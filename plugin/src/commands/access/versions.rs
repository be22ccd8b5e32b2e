//! The versions of files, in Git and in the working tree, and who could read them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use selkie::sops::access::{Access, Knowledge, Period, Reader, Version};
use serde_json::{Value as Json, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::context::Context;
use crate::document;
use crate::failure::Failure;
use crate::git;
use crate::history::{self, Commit, Revisions};
use crate::targets;
use crate::versions::{Known, Looks, by_repository, read_blobs, spec};

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
            // Who may still know the data key reads what comes, however long ago that was.
            if reader.reads_now() || reader.data_key == Knowledge::No {
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
        let knows = |knowledge| match knowledge {
            Knowledge::No => Some(false),
            Knowledge::Perhaps => None,
            Knowledge::Yes => Some(true),
        };
        let reader = |reader: &Reader| {
            json!({
                "kind": reader.recipient.kind,
                "key": reader.recipient.key,
                "reads": reader.reads_now(),
                "knowsDataKey": knows(reader.data_key),
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
