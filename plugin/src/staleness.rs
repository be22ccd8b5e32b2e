//! How old the data keys of files are.
//!
//! No file says so. But whatever was written under a data key, or around it, is no older than the key: the first commit
//! that has it, the moment at which it was wrapped for a master key, and the last change of the file. So a file may be
//! found too young, and never too old, as far as clocks can be trusted.

use std::path::Path;

use selkie::sops::Metadata;
use selkie::sops::access::{Encryption, Version};
use selkie::sops::data_keys::DataKeys;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::context::Context;
use crate::document;
use crate::failure::Failure;
use crate::git;
use crate::history::{self, Revisions};
use crate::report::count;
use crate::spans::Span;
use crate::versions::{by_repository, read_blobs, spec};

/// Tells files with old data keys from others.
pub struct Staleness {
    /// What is older than this is stale.
    limit: OffsetDateTime,
    /// The data keys that Git has seen.
    seen: DataKeys<OffsetDateTime>,
}

/// How old the data key of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataKeyAge {
    /// Since when there is the data key, at the latest.
    pub since: OffsetDateTime,
    /// What tells.
    pub from: AgeSource,
    /// Whether it is older than it should be.
    pub is_stale: bool,
}

/// What tells how old a data key is, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgeSource {
    /// The first commit that has it.
    Git,
    /// When it was wrapped for a master key. Wrapping it anew leaves no trace of how old it is.
    CreatedAt,
    /// When the file was last changed: it may have had the data key for years.
    LastModified,
}

impl Staleness {
    /// Reads the history of what `paths` name, so that files can be told from others that have had their data key for
    /// longer than a span.
    ///
    /// # Errors
    /// If Git cannot tell.
    pub fn read(context: &Context<'_>, span: Span, paths: &[String]) -> Result<Self, Failure> {
        let limit = span.before((context.session.clock)());
        let mut found = Self { limit, seen: DataKeys::new() };
        let files: Vec<_> = paths.iter().filter(|path| *path != "-").cloned().collect();
        let (mut unread, mut is_cut) = (0, false);
        for (root, paths) in by_repository(context, &files) {
            let Some(root) = root else { continue };
            let specs = paths.iter().map(|path| spec(&root, &context.session.absolute(Path::new(path))));
            unread += found.add_history(&root, &specs.collect::<Vec<_>>())?;
            is_cut |= git::is_shallow(&root);
        }
        if is_cut {
            context.report.warn(
                "the Git history is not all there, and data keys may be older than it says: \
                 `git fetch --unshallow` gets the rest",
            );
        }
        if unread > 0 {
            context.report.warn(format!("{} cannot be read, and left out", count(unread, "version")));
        }
        Ok(found)
    }

    /// Adds the data keys of all versions in a repository, and returns how many versions cannot be read.
    fn add_history(&mut self, root: &Path, specs: &[String]) -> Result<usize, Failure> {
        let history = history::read(root, &Revisions::Of(Vec::new()), specs)?;
        let blobs = read_blobs(root, &history.files)?;
        let mut unread = 0;
        for file in &history.files {
            let format = document::format_of(&file.path);
            for (at, name) in &file.versions {
                let Some(name) = name else { continue };
                match blobs.get(&(name.as_str(), format)).and_then(|known| known.version.as_ref()) {
                    Some(Version::Encrypted(encryption)) => {
                        self.seen.add(encryption, history.commits[*at].time);
                    }
                    Some(_) => {}
                    None => unread += 1,
                }
            }
        }
        Ok(unread)
    }

    /// Returns how old the data key of a file is, given its text and metadata; nothing if no date is one.
    #[must_use]
    pub fn age(&self, text: &[u8], metadata: &Metadata) -> Option<DataKeyAge> {
        let committed = self.seen.first_seen(&Encryption::of(text, metadata));
        DataKeyAge::of(committed, metadata, self.limit)
    }
}

impl DataKeyAge {
    /// Returns what the best source says; if that is no sign of an old data key, and another is, what that says.
    fn of(committed: Option<OffsetDateTime>, metadata: &Metadata, limit: OffsetDateTime) -> Option<Self> {
        let keys = metadata.groups.iter().flat_map(|group| &group.0);
        let created = keys.filter_map(|key| moment(key.created_at()?)).min();
        let sources = [
            (committed, AgeSource::Git),
            (created, AgeSource::CreatedAt),
            (moment(&metadata.last_modified), AgeSource::LastModified),
        ];
        let told = |(since, from): (Option<OffsetDateTime>, AgeSource)| {
            let since = since?;
            Some(Self { since, from, is_stale: since < limit })
        };
        let ages = || sources.into_iter().filter_map(told);
        ages().find(|age| age.is_stale).or_else(|| ages().next())
    }

    /// Returns the moment as programs read it.
    #[must_use]
    pub fn timestamp(&self) -> Option<String> {
        // Every moment here was read from such a text, or is from Git, whose years have four digits, too.
        self.since.format(&Rfc3339).ok()
    }
}

/// As people read it: since when, and what tells.
impl std::fmt::Display for DataKeyAge {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let told = match self.from {
            AgeSource::Git => "going by its first commit",
            AgeSource::CreatedAt => "going by created_at, maybe for longer",
            AgeSource::LastModified => "assumed from lastmodified, maybe for longer",
        };
        write!(formatter, "since {}, {told}", self.since.date())
    }
}

impl AgeSource {
    /// Returns the name for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Git => "git",
            Self::CreatedAt => "created_at",
            Self::LastModified => "lastmodified",
        }
    }
}

/// Reads a moment. One that cannot be read tells nothing.
fn moment(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()?.checked_to_offset(UtcOffset::UTC)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    const LIMIT: OffsetDateTime = datetime!(2026-06-01 00:00 UTC);

    /// The metadata of a file for age and keys of KMS that were wrapped then.
    fn metadata(created: &[&str], last_modified: &str) -> Metadata {
        let arn = "arn:aws:kms:eu-west-1:1:key/k";
        let key = |created: &&str| json!({"arn": arn, "created_at": created, "enc": "AQ=="});
        let entry = json!({
            "kms": created.iter().map(key).collect::<Vec<_>>(),
            "age": [{"recipient": "age1x", "enc": "x"}],
            "lastmodified": last_modified,
            "mac": "",
            "version": "3.10.0",
        });
        Metadata::from_json(entry.as_object().expect("an object")).expect("metadata")
    }

    fn told(committed: Option<OffsetDateTime>, metadata: &Metadata) -> (String, &'static str, bool) {
        let age = DataKeyAge::of(committed, metadata, LIMIT).expect("an age");
        (age.timestamp().expect("a timestamp"), age.from.name(), age.is_stale)
    }

    fn expected(timestamp: &str, from: &'static str, is_stale: bool) -> (String, &'static str, bool) {
        (timestamp.to_owned(), from, is_stale)
    }

    #[test]
    fn a_commit_is_believed_before_the_keys_and_these_before_the_last_change() {
        let both = metadata(&["2026-06-03T00:00:00Z", "2026-06-02T00:00:00Z"], "2026-06-05T00:00:00Z");
        let committed = Some(datetime!(2026-06-04 00:00 UTC));
        assert_eq!(told(committed, &both), expected("2026-06-04T00:00:00Z", "git", false));
        assert_eq!(told(None, &both), expected("2026-06-02T00:00:00Z", "created_at", false));
        let age = metadata(&[], "2026-06-05T00:00:00Z");
        assert_eq!(told(None, &age), expected("2026-06-05T00:00:00Z", "lastmodified", false));
    }

    #[test]
    fn whatever_shows_an_old_data_key_counts() {
        let committed = Some(datetime!(2026-06-04 00:00 UTC));
        let created = metadata(&["2026-05-01T00:00:00Z"], "2026-04-01T00:00:00Z");
        assert_eq!(told(committed, &created), expected("2026-05-01T00:00:00Z", "created_at", true));
        let modified = metadata(&["2026-06-02T00:00:00Z"], "2026-04-01T00:00:00Z");
        assert_eq!(told(committed, &modified), expected("2026-04-01T00:00:00Z", "lastmodified", true));
    }

    #[test]
    fn keys_that_were_wrapped_anew_do_not_make_a_data_key_young() {
        let committed = Some(datetime!(2025-01-01 00:00 UTC));
        let rewrapped = metadata(&["2026-06-02T00:00:00Z"], "2026-06-02T00:00:00Z");
        assert_eq!(told(committed, &rewrapped), expected("2025-01-01T00:00:00Z", "git", true));
    }

    #[test]
    fn what_is_as_old_as_the_span_is_not_older() {
        let edge = metadata(&[], "2026-06-01T00:00:00Z");
        assert_eq!(told(None, &edge), expected("2026-06-01T00:00:00Z", "lastmodified", false));
        let before = metadata(&[], "2026-05-31T23:59:59Z");
        assert_eq!(told(None, &before), expected("2026-05-31T23:59:59Z", "lastmodified", true));
    }

    #[test]
    fn dates_of_the_future_and_such_as_are_none_make_nothing_stale() {
        let strange = metadata(&["soon", "", "9999-12-31T23:59:59-23:59"], "9999-12-31T23:59:59Z");
        assert_eq!(told(None, &strange), expected("9999-12-31T23:59:59Z", "lastmodified", false));
        let east = metadata(&["2026-06-01T01:00:00+02:00"], "2026-06-05T00:00:00Z");
        assert_eq!(told(None, &east), expected("2026-05-31T23:00:00Z", "created_at", true));
    }
}
